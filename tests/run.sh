#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what the tests need and runs them: tests/run.sh [--quick|--long] [PATTERN]. Details: --help.
# PATTERN chooses tests by name: a regular expression for C tests, a -k expression for Python ones.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'TEXT'
usage: tests/run.sh [--quick | --long] [--list] [PATTERN]

  --quick   style and unit tests, dev build (ASan and UBSan): before a commit
  (none)    everything but what takes minutes per test; under 25 minutes on 2 cores, set-up included:
              dev      style, unit, model and golden tests, replay of the fuzz corpora, under ASan and UBSan
              faults   the nth allocation or system call of every program fails, for a sample of n, under ASan and UBSan
              hostile  a store and streams of an attacker, under ASan and UBSan
              clang    builds everything, warnings are errors; layout of the sources; clang-tidy on src
              release  warnings are errors, unit tests as shipped (allocation counts, hardening, allocator)
              tsan     data races in whatever has threads: cache, client, engine (epoll), metric, server, protocols,
                       mapped, node, selection, follow
              python   builder and tools
              system   real daemon, real clients, both engines; Feast's own client; 10^8 checked reads under swaps
                       and kills, and then over all protocols
  --long    the above with fifty times the faults, then libFuzzer on every decoder, on the content
            of shards and on turns of a worker, stress tests, and system tests marked long (10^9
            reads; all protocols for ten minutes; minutes of mutated streams)

  --list    name the tests and run none
  PATTERN   only tests whose name matches: 'unit.cache', 'resp'

environment: PIL_SEED=N repeats random tests and streams; PIL_FUZZ_SECONDS=N for each fuzz target (default 120);
             PIL_FAULT_SAMPLES=N calls of each scenario that fail (default 6; 0: every one)
TEXT
}

tier=default list=0 pattern=
for argument in "$@"; do
    case $argument in
    --quick | --long) tier=${argument#--} ;;
    --list) list=1 ;;
    --help | -h)
        usage
        exit 0
        ;;
    -*)
        usage >&2
        exit 2
        ;;
    *) pattern=$argument ;;
    esac
done

# shellcheck source=deploy/setup.sh
. deploy/setup.sh
export STEP_TAIL=60 PYTHONDONTWRITEBYTECODE=1 PATH="$venv/bin:$PATH"
reports=$build/reports
rm -rf "$reports"
mkdir -p "$reports"
rows=() failed=0

# suite TITLE COMMAND...: a step whose result is a row of the summary. A failure is remembered, so callers may go on.
suite() {
    local started=$SECONDS code=0
    step "$@" || code=$?
    [ "$code" = 0 ] || failed=1
    rows+=("$1" "$code" "$((SECONDS - started))")
    return "$code"
}
report_of() { printf '%s/%s.xml' "$reports" "$(tr -c 'A-Za-z0-9\n' '-' <<<"$1")"; }

# c_tests TITLE PRESET CTEST_OPTION...
c_tests() {
    local title=$1 preset=$2
    shift 2
    suite "$title" ctest --preset "$preset" -j "$jobs" --no-tests=ignore --output-junit "$(report_of "$title")" \
        ${pattern:+-R "$pattern"} "$@" || true
}
# python_tests TITLE PATH [OPTION...]. pytest exits with 5 when the pattern matches no test.
pytest_in() {
    local code=0 path=$1 report=$2
    shift 2
    "$venv/bin/python" -m pytest -q -rs -o cache_dir="$build/.pytest_cache" --junitxml "$report" \
        ${pattern:+-k "$pattern"} "$@" "$path" || code=$?
    [ "$code" = 5 ] && [ -n "$pattern" ] || return "$code"
}
python_tests() { suite "$1" pytest_in "$2" "$(report_of "$1")" "${@:3}" || true; }

# Names of the C tests of preset $1 that match $2 and PATTERN; each is also the name of the test's target.
names_of() { ctest --preset "$1" -N -R "$2" | sed -n 's/^ *Test *#[0-9]*: //p' | grep -E -- "${pattern:-.}" || true; }

export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

# clang's warnings, clang-format and clang-tidy. What clang builds here is not run.
layout() {
    local bad
    bad=$(git ls-files -z '*.c' '*.h' | xargs -0 clang-format --dry-run -Werror 2>&1) && return 0
    printf '%s\n' "$bad" "Mend it: cmake --build build/dev --target format"
    return 1
}
clang_checks() {
    [ -z "$pattern" ] || return 0
    suite "clang: layout" layout || true
    suite "clang: build" configure_and_build clang || return 0
    suite "clang: tidy" run-clang-tidy -quiet -j "$jobs" -p build/clang "$root/src/(?!python/).*\\.c\$" || true
}

tsan_tests() {
    local targets threaded='cache|client|engine|metric|server|protocol|mapped|node|selection|follow'
    suite "tsan: configure" cmake --preset tsan || return 0
    mapfile -t targets < <(names_of tsan "^(unit|model|stress)\.($threaded)\.")
    [ ${#targets[@]} -gt 0 ] || return 0
    suite "tsan: build" cmake --build --preset tsan -j "$jobs" --target "${targets[@]}" || return 0
    local pattern
    pattern="^($(IFS='|'; echo "${targets[*]}"))\$"
    c_tests "tsan" tsan
}

fuzz() {
    local target=$1 name=${1##*/fuzz.} found
    found=$build/fuzz/corpus/$name
    mkdir -p "$found"
    "$target" -max_total_time="${PIL_FUZZ_SECONDS:-120}" -rss_limit_mb=4096 -print_final_stats=1 \
        -artifact_prefix="$found/" "$found" "tests/fuzz/corpus/$name"
}
long_tests() {
    local target
    c_tests "stress" release -L stress
    suite "fuzz: build" configure_and_build fuzz || return 0
    for target in "$build"/fuzz/tests/fuzz.*; do
        [ ! -x "$target" ] || suite "fuzz: ${target##*/fuzz.}" fuzz "$target" || true
    done
}

# What looks for faults that only a sanitizer sees; the other system tests run with the release programs.
hostile=(tests/system/test_store_tricks.py tests/system/test_live_fuzz.py)
sanitized_tests() {
    local -x PILLION_BIN_DIR=$build/dev/bin
    python_tests "faults" tests/system/test_faults.py
    python_tests "hostile" "${hostile[@]}"
}

# Tests run only if their preset was built: their failures would hide the compiler's message.
run_tier() {
    section "Set-up"
    setup_for "$([ "$tier" = default ] && echo test || echo "$tier")"
    section "Build and test"
    if suite "dev: build" configure_and_build dev; then
        [ "$tier" = quick ] && c_tests "dev (ASan, UBSan)" dev -L '^(tidy|unit)$'
        [ "$tier" = quick ] || c_tests "dev (ASan, UBSan)" dev -LE '^stress$'
        [ "$tier" = quick ] || sanitized_tests
    fi
    [ "$tier" != quick ] || return 0
    clang_checks
    if suite "release: build" configure_and_build release -DPIL_WERROR=ON -DBUILD_TESTING=ON; then
        c_tests "release" release -L '^unit$'
        python_tests "python" tests/python
        python_tests "system" tests/system --ignore tests/system/test_faults.py "${hostile[@]/#/--ignore=}"
    fi
    tsan_tests
    [ "$tier" != long ] || long_tests
}

if [ "$list" = 1 ]; then
    setup_for test
    setup_preset dev
    names_of dev .
    for folder in tests/python tests/system; do
        [ ! -d "$folder" ] || "$venv/bin/python" -m pytest -q --collect-only -o cache_dir="$build/.pytest_cache" \
            ${pattern:+-k "$pattern"} "$folder" | grep :: || true
    done
    exit 0
fi
[ "$tier" != long ] || export PIL_LONG=1
run_tier
section "Summary"
/usr/bin/python3 tests/summary.py "$reports" "${rows[@]}" || failed=1
exit "$failed"
