#!/usr/bin/env bash
# system_packages.sh LEVEL: makes sure that what pip cannot install is there.
#   native   compiler, CMake, Ninja, the core's libraries, GoogleTest and Google Benchmark; no Python
#   demo     compiler, CMake, Ninja, the core's libraries, Python with its headers and venv
#   test     both
# What is missing is installed with apt-get, as root or by a sudo that asks for no password; otherwise the one line to
# run is printed. Where there is no apt-get, missing libraries are left to CMake, which fetches pinned releases.
# PYTHON says which Python is meant. When nothing is missing, nothing is called.
set -euo pipefail
cd "$(dirname "$0")/.."

level=${1:?usage: system_packages.sh native|demo|test}

# Fills `needed` (no build without these) and `wanted` (CMake can fetch these) with package names.
look() {
    needed=()
    wanted=()
    command -v make >/dev/null || needed+=(make)
    scripts/find_tool.sh "${CXX:-c++}" 11 >/dev/null || needed+=(g++)
    scripts/find_tool.sh cmake 3.24 >/dev/null || needed+=(cmake)
    scripts/find_tool.sh ninja 1.10 >/dev/null || needed+=(ninja-build)

    if ! command -v pkg-config >/dev/null; then
        wanted+=(pkg-config libuv1-dev)
    elif ! pkg-config --exists 'libuv >= 1.44'; then
        wanted+=(libuv1-dev)
    fi
    has_header concurrentqueue/concurrentqueue.h || wanted+=(libconcurrentqueue-dev)
    if [ "$level" != demo ]; then
        has_header gtest/gtest.h || wanted+=(libgtest-dev)
        has_header benchmark/benchmark.h || wanted+=(libbenchmark-dev)
    fi
    if [ "$level" != native ]; then look_python; fi
}

has_header() {
    local folder
    for folder in /usr/include /usr/local/include ${CPATH:+${CPATH//:/ }}; do
        [ -e "$folder/$1" ] && return 0
    done
    return 1
}

look_python() {
    local python missing package
    if ! python=$(scripts/find_python.sh "${PYTHON:-python3}" 2>/dev/null); then
        # Debian's own, if it is the one that is asked for; any other Python is not ours to install.
        if [ "${PYTHON:-python3}" = python3 ] && ! command -v python3 >/dev/null; then
            needed+=(python3 python3-dev python3-venv)
        else
            scripts/find_python.sh "${PYTHON:-python3}" # says why
        fi
        return
    fi
    missing=$("$python" -I -c '
import importlib.util, os, sysconfig
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    print("dev")
if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
    print("venv")
')
    for package in $missing; do
        case $python in
            /usr/bin/python3*) needed+=("$(basename "$python")-$package") ;;
            *)
                echo "$python was installed without what python3-$package holds for Debian's own; pick another with PYTHON=" >&2
                exit 1
                ;;
        esac
    done
}

look
packages=("${needed[@]}" "${wanted[@]}")
if [ ${#packages[@]} -eq 0 ]; then exit 0; fi

if ! command -v apt-get >/dev/null; then
    if [ ${#wanted[@]} -gt 0 ]; then
        echo "Not installed here, so CMake will fetch them: ${wanted[*]} (Debian's names)"
    fi
    if [ ${#needed[@]} -eq 0 ]; then exit 0; fi
    echo "Please install, with this system's package manager: ${needed[*]} (Debian's names)" >&2
    exit 1
fi

sudo=()
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "System packages are missing. Please run:" >&2
        echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends ${packages[*]}" >&2
        exit 1
    fi
    sudo=(sudo -n)
fi
echo "Installing system packages: ${packages[*]}"
"${sudo[@]}" apt-get update -qq || echo "apt-get update failed; going on with the package lists that are here" >&2
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${packages[@]}" </dev/null

look
packages=("${needed[@]}" "${wanted[@]}")
if [ ${#needed[@]} -gt 0 ]; then
    echo "Installed, yet still not usable: ${needed[*]}" >&2
    exit 1
fi
