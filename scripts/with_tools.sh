#!/usr/bin/env bash
# with_tools.sh COMMAND...: runs COMMAND with the CMake and the Ninja that work first on PATH.
set -euo pipefail

here=$(dirname "$0")
cmake=$("$here/find_tool.sh" cmake 3.24) || { echo "CMake 3.24 or later is needed" >&2 && exit 1; }
ninja=$("$here/find_tool.sh" ninja 1.10) || { echo "Ninja 1.10 or later is needed" >&2 && exit 1; }
PATH="$(dirname "$cmake"):$(dirname "$ninja"):$PATH" exec "$@"
