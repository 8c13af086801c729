#!/usr/bin/env bash
# native_benchmarks.sh [GOOGLE BENCHMARK ARGUMENTS]: builds the core with its benchmarks, without Python, and runs them.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/with_tools.sh cmake -S . -B build/bench -G Ninja --log-level=WARNING \
    -D CMAKE_BUILD_TYPE=Release -D PYFERRIS_BUILD_PYTHON=OFF -D PYFERRIS_BUILD_BENCHMARKS=ON
scripts/with_tools.sh cmake --build build/bench --parallel "${JOBS:-$(nproc)}"
for benchmark in build/bench/native_*; do
    "$benchmark" "$@"
done
