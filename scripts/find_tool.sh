#!/usr/bin/env bash
# find_tool.sh NAME [MINIMUM]: prints the path of the first NAME on PATH that runs (a version manager's shim may be there
# and not run) and is at least version MINIMUM. Fails silently if there is none.
set -uo pipefail

name=$1
minimum=${2:-0}
while IFS= read -r candidate; do
    version=$("$candidate" --version 2>/dev/null </dev/null | grep -oEm1 '[0-9]+\.[0-9]+(\.[0-9]+)?' | head -n1) || continue
    if [ "$(printf '%s\n%s\n' "$minimum" "$version" | sort -V | head -n1)" = "$minimum" ]; then
        echo "$candidate"
        exit 0
    fi
done < <(type -aP "$name")
exit 1
