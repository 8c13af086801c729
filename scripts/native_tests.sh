#!/usr/bin/env bash
# native_tests.sh plain|address|thread [CTEST ARGUMENTS]: builds the core with its tests, without Python, as it is or under
# a sanitizer (address is ASan and UBSan), and runs them.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=$1
shift
case $kind in
    plain) folder=build/native sanitize="" ;;
    address) folder=build/asan sanitize=address ;;
    thread) folder=build/tsan sanitize=thread ;;
    *) echo "usage: native_tests.sh plain|address|thread" >&2 && exit 2 ;;
esac
jobs=${JOBS:-$(nproc)}

mkdir -p build
scripts/with_tools.sh cmake -S . -B "$folder" -G Ninja --log-level=WARNING \
    -D CMAKE_BUILD_TYPE=Release -D PYFERRIS_BUILD_PYTHON=OFF -D PYFERRIS_BUILD_TESTS=ON \
    -D "PYFERRIS_SANITIZE=$sanitize" -D "PYFERRIS_WERROR=${WERROR:-ON}" >"$folder.log" 2>&1 ||
    { cat "$folder.log" >&2 && exit 1; }
scripts/with_tools.sh cmake --build "$folder" --parallel "$jobs"

# Address space randomisation of newer kernels moves memory to where GCC 12's TSan does not expect it.
run=()
if [ "$kind" = thread ] && setarch "$(uname -m)" --addr-no-randomize true 2>/dev/null; then
    run=(setarch "$(uname -m)" --addr-no-randomize)
fi
export UBSAN_OPTIONS=print_stacktrace=1:${UBSAN_OPTIONS:-}
export TSAN_OPTIONS=second_deadlock_stack=1:${TSAN_OPTIONS:-}
"${run[@]}" scripts/with_tools.sh \
    ctest --test-dir "$folder" --output-on-failure --no-tests=error --parallel "$jobs" "$@"
