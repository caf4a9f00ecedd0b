#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that a bare Debian 12 needs to build, run and test Pillion. Sourced by deploy/quickstart.sh and
# tests/run.sh; run by hand it prepares the machine and builds the release preset. Idempotent: parts that are up to date
# are left alone, so a second run takes a second. Outside build/ it only installs Debian packages. The lists below and
# tests/requirements.txt and bench/requirements.txt are the only package lists.
set -euo pipefail

debian_build=(gcc libc6-dev cmake ninja-build pkg-config python3 python3-dev python3-venv
    liburing-dev libyaml-dev libjansson-dev libxxhash-dev libssl-dev libmimalloc-dev)
debian_run=(ca-certificates curl redis-tools)
debian_test=(libcmocka-dev binutils redis-server prometheus clang clang-format clang-tidy zsh fish)
debian_bench=(liblmdb-dev librocksdb-dev memcached) # bench/run.sh fast
debian_long=(libclang-rt-14-dev)
python_run=(numpy==2.4.6 pyarrow==26.0.1 duckdb==2.0.0)
python_feast=('feast[redis]==0.67.*')

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build
venv=$build/venv
feast_venv=$build/feast-venv
mkdir -p "$build/log"
jobs=$(nproc)

# ---- Output for people. Colours and the progress line only on a terminal.
if [ -t 1 ] && [ "${TERM:-dumb}" != dumb ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' yellow=$'\e[33m' cyan=$'\e[36m' plain=$'\e[0m' moving=1
else
    bold='' dim='' red='' green='' yellow='' cyan='' plain='' moving=0
fi
section() { printf '\n%s%s%s\n' "$bold$cyan" "$*" "$plain"; }
say() { printf '  %s\n' "$*"; }
good() { printf '  %s✓%s %s\n' "$green" "$plain" "$*"; }
warn() { printf '  %s!%s %s\n' "$yellow" "$plain" "$*" >&2; }
die() {
    printf '\n%serror:%s %s\n' "$bold$red" "$plain" "$*" >&2
    exit 1
}

# The last line of the log $1, without carriage returns and escapes, cut to the width of the terminal minus $2 columns.
last_line() {
    local columns
    columns=$({ stty size </dev/tty | cut -d' ' -f2; } 2>/dev/null) || true
    columns=$((${columns:-0} > 0 ? columns - $2 : 100 - $2))
    tail -c 400 "$1" 2>/dev/null | tr '\r' '\n' | sed 's/\x1b\[[0-9;]*[A-Za-z]//g; s/[[:space:]]*$//' |
        grep -v '^$' | tail -n 1 | cut -c "1-$((columns > 20 ? columns : 20))" || true
}

# step TITLE COMMAND...: runs COMMAND with its output in build/log, shows progress, and on failure the end of the log.
step_pid=
step() {
    local title=$1 code=0 started=$SECONDS beat=10 log
    shift
    log="$build/log/$(tr -cs 'A-Za-z0-9' '-' <<<"$title" | sed 's/^-*//; s/-*$//').log"
    set -m # a process group of its own, so that an interrupt ends all of its processes
    "$@" >"$log" 2>&1 </dev/null &
    step_pid=$!
    set +m
    while kill -0 "$step_pid" 2>/dev/null; do
        if [ "$moving" = 1 ]; then
            printf '\r\e[K  %s…%s %s %s' "$cyan" "$plain" "$title" "$dim$(last_line "$log" $((${#title} + 8)))$plain"
        elif [ $((SECONDS - started)) -ge "$beat" ]; then
            printf '    %s: %s s: %s\n' "$title" "$((SECONDS - started))" "$(last_line "$log" 60)"
            beat=$((beat + 10))
        fi
        sleep 0.2
    done
    wait "$step_pid" || code=$?
    step_pid=
    [ "$moving" = 0 ] || printf '\r\e[K'
    if [ "$code" != 0 ]; then
        printf '  %s✗%s %s (exit %s after %s s), from %s:\n' "$red" "$plain" "$title" "$code" "$((SECONDS - started))" \
            "${log#"$root"/}"
        tail -n "${STEP_TAIL:-40}" "$log" | sed 's/^/    /'
        return "$code"
    fi
    good "$title $dim$((SECONDS - started)) s$plain"
}
stop_step() { [ -z "$step_pid" ] || kill -TERM -- "-$step_pid" 2>/dev/null || true; }
trap 'stop_step; exit 130' INT
trap 'stop_step; exit 143' TERM

# ---- Debian packages
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install_packages() {
    local policy=/usr/sbin/policy-rc.d code=0
    # Packages must not start their daemons as services of this machine: the tests start those daemons themselves.
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    else
        policy=
    fi
    as_root apt-get update -q -o DPkg::Lock::Timeout=300 &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
            -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" || code=$?
    [ -z "$policy" ] || as_root rm -f "$policy"
    return "$code"
}

setup_debian() {
    local missing=() package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "this needs Debian's apt-get; install by hand: ${missing[*]}"
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || die "missing packages, and neither root nor sudo: apt-get install ${missing[*]}"
        sudo -v || die "sudo refused; as root: apt-get install ${missing[*]}"
    fi
    step "Debian packages (${#missing[@]} missing)" install_packages "${missing[@]}"
}

# ---- Python. A part is up to date when its stamp holds the hash of all its inputs.
stamp_of() { cat "$@" 2>/dev/null | sha256sum | cut -c1-32; }
# stamped NAME HASH TITLE COMMAND...
stamped() {
    local stamp=$build/.setup-$1 hash=$2
    [ "$(cat "$stamp" 2>/dev/null)" != "$hash" ] || return 0
    shift 2
    step "$@"
    printf '%s\n' "$hash" >"$stamp"
}

# Uses Debian's Python, never another one on PATH. A venv that was moved or whose Python is gone is made again.
make_venv() {
    local folder=$1
    "$folder/bin/python" -c "import sys; sys.exit(sys.prefix != '$folder')" 2>/dev/null && return 0
    rm -rf "$folder"
    /usr/bin/python3 -m venv "$folder"
}
pip_install() {
    local folder=$1
    shift
    make_venv "$folder" &&
        "$folder/bin/python" -m pip install --disable-pip-version-check --progress-bar off --no-input "$@"
}

setup_python() {
    local folders sources hash
    [ -x "$venv/bin/python" ] || rm -f "$build"/.setup-python*
    stamped python "$(stamp_of "${BASH_SOURCE[0]}")" "Python packages" \
        pip_install "$venv" "${python_run[@]}"
    [ -f "$root/src/python/pyproject.toml" ] || return 0
    # The extension modules are built from some of the C modules; setup.py lists them.
    mapfile -t folders < <(sed -n 's/^MODULES = //p' "$root/src/python/setup.py" | tr -cs 'a-z' '\n' | grep .)
    mapfile -t sources < <(cd "$root/src" && find python "${folders[@]}" -type f ! -name '*.pyc' | LC_ALL=C sort)
    sources=("${sources[@]/#/$root/src/}" "$root/include/pillion/client.h")
    hash=$(stamp_of "${BASH_SOURCE[0]}" "${sources[@]}")
    stamped python-pillion "$hash" "Python package pillion" \
        pip_install "$venv" --force-reinstall --no-deps "$root/src/python"
}

setup_python_tests() {
    local list=$root/tests/requirements.txt
    stamped python-tests "$(stamp_of "${BASH_SOURCE[0]}" "$list")" "Python packages of the tests" \
        pip_install "$venv" -r "$list"
}

# Feast has a venv of its own, so that its dependencies do not determine the versions of ours.
setup_feast() {
    [ -x "$feast_venv/bin/python" ] || rm -f "$build/.setup-feast"
    stamped feast "$(stamp_of "${BASH_SOURCE[0]}")" "Feast, for the conformance tests" \
        pip_install "$feast_venv" "${python_feast[@]}"
}

# ---- C: setup_preset PRESET [CMAKE_OPTION...] [-- TARGET...]. Ninja decides what is stale.
configure_and_build() {
    local preset=$1 options=()
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    [ $# = 0 ] || shift
    # Joined by &&: set -e has no effect in a command whose exit code is tested.
    cd "$root" &&
        cmake --preset "$preset" ${options[@]+"${options[@]}"} &&
        cmake --build --preset "$preset" -j "$jobs" ${@:+--target "$@"}
}
setup_preset() { step "build: $1" configure_and_build "$@"; }
# The programs and the examples. Tests and their dependencies only if an earlier configuration included them.
setup_programs() {
    local options=()
    [ -f "$build/release/build.ninja" ] || options=(-DBUILD_TESTING=OFF)
    setup_preset release ${options[@]+"${options[@]}"} -- pillion pilliond \
        pillion-example-vectors pillion-example-latency
}

# Set-ups take a lock, so that two commands may be started at the same time.
setup_for() {
    local lock
    exec {lock}>"$build/.setup.lock"
    flock -n "$lock" || { say "waiting for another set-up to finish"; flock "$lock"; }
    case $1 in
    run)
        setup_debian "${debian_build[@]}" "${debian_run[@]}"
        setup_python
        ;;
    quick) setup_debian "${debian_build[@]}" "${debian_test[@]}" ;;
    test | long)
        setup_debian "${debian_build[@]}" "${debian_run[@]}" "${debian_test[@]}"
        [ "$1" = test ] || setup_debian "${debian_long[@]}"
        setup_python
        setup_python_tests
        setup_feast
        ;;
    esac
    exec {lock}>&-
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    section "Set-up"
    setup_for run
    setup_programs
    say "programs: build/release/bin"
fi
