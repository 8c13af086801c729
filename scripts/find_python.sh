#!/usr/bin/env bash
# find_python.sh [NAME]: prints the interpreter that NAME (a command or a path, by default python3) stands for, as the
# path of the interpreter itself: not of a version manager's shim, nor of a virtual environment that happens to be
# active. It must run, be CPython 3.11 or later, and be of the version that its name says. A name like python3.13 is looked
# for on PATH first, then under pyenv's root. Fails with a line on standard error that says why.
set -uo pipefail

name=${1:-python3}
wanted=$(grep -oE '^python3\.[0-9]+$' <<<"$name" | cut -c 7-)

candidates() {
    type -aP "$name"
    if [ -n "$wanted" ]; then
        printf '%s\n' "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$wanted"*/bin/python | sort -rV
    fi
}

probe='
import sys
version = "{}.{}".format(*sys.version_info)
if sys.implementation.name != "cpython" or sys.version_info < (3, 11):
    sys.exit("is " + sys.implementation.name + " " + version + "; CPython 3.11 or later is needed")
if sys.argv[1] not in ("", version):
    sys.exit("is Python " + version)
print(getattr(sys, "_base_executable", sys.executable))
'

refusal="not found"
while IFS= read -r candidate; do
    [ -x "$candidate" ] || continue
    if path=$("$candidate" -I -c "$probe" "$wanted" 2>&1 </dev/null); then
        realpath "$path"
        exit 0
    fi
    refusal="$candidate ${path##*$'\n'}"
done < <(candidates)
echo "Python '$name': $refusal" >&2
exit 1
