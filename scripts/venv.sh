#!/usr/bin/env bash
# venv.sh FOLDER [PYTHON]: makes the virtual environment FOLDER with PYTHON (by default python3), unless one that works is
# there. One that was made by another interpreter than an explicitly named PYTHON is made anew.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$1
python=$(scripts/find_python.sh "${2:-python3}")

made_by() { "$venv/bin/python" -I -c 'import os, pip, sys; print(os.path.realpath(sys._base_executable))' 2>/dev/null; }

if made=$(made_by) && { [ -z "${2:-}" ] || [ "$made" = "$python" ]; }; then exit 0; fi
echo "Making $venv with $python"
rm -rf "$venv"
"$python" -m venv "$venv"
