#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the programs to be measured and measures them: bench/run.sh serve|fast [option...]. Options and method: --help,
# bench/README.md.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bench/run.sh serve [--feast] [option...]
       bench/run.sh fast [--quick] [--no-feast] [option...]

  serve       Pillion beside Redis and a server that does nothing, on the same data; latency while releases are swapped
  --feast     Feast's own Python server, too (installed under build/)

  fast        mapped reads and tensors beside LMDB, RocksDB, Redis, memcached, Feast's SDK, a plain array and a server
              that does nothing, from C and from Python; memory; swaps. Writes docs/benchmarks.md with its charts
  --quick     small tables and few rounds: some three minutes instead of half an hour, not to be quoted
  --no-feast  without Feast's SDK

Both install what is missing and take about half an hour; --cases and others choose less. All options:
bench/run.sh serve --help, bench/run.sh fast --help.
TEXT
}

case ${1:-} in
serve | fast) what=$1 ;;
--help | -h)
    usage
    exit 0
    ;;
*)
    usage >&2
    exit 2
    ;;
esac
shift
cd "$(dirname "$0")/.."
for argument in "$@"; do
    case $argument in --help | -h) exec python3 "bench/run_$what.py" --help ;; esac
done
# shellcheck source=deploy/setup.sh
. deploy/setup.sh

# part NAME HASH TITLE COMMAND...: like `stamped`, but the benchmark continues without the part, and its cases fail.
part() {
    local stamp=$build/.setup-$1 hash=$2
    [ "$(cat "$stamp" 2>/dev/null)" != "$hash" ] || return 0
    shift 2
    if step "$@"; then printf '%s\n' "$hash" >"$stamp"; else warn "going on without: $1"; fi
}

# Python clients get a folder of their own, so that their versions do not affect those of the tests.
setup_clients() {
    local sources bench_venv=$build/bench-venv
    [ -x "$bench_venv/bin/python" ] || rm -f "$build"/.setup-bench*
    mapfile -t sources < <(find src include -type f \( -name '*.[ch]' -o -name '*.py*' -o -name '*.toml' \) |
        LC_ALL=C sort)
    part bench "$(stamp_of bench/requirements.txt)" "Python clients of the peers" \
        pip_install "$bench_venv" -r bench/requirements.txt
    part bench-pillion "$(stamp_of "${sources[@]}")" "Python client of Pillion" \
        pip_install "$bench_venv" --force-reinstall --no-deps ./src/python
    options+=(--python "$bench_venv/bin/python")
}

# Uses the Feast folder of the conformance tests; Feast's Redis online store is an extra.
setup_feast_redis() {
    setup_feast
    part feast-redis "$(stamp_of deploy/setup.sh)" "Feast's Redis online store" \
        pip_install "$feast_venv" "${python_feast[@]/feast/feast[redis]}"
    options+=(--feast "$feast_venv/bin/python")
}

options=() feast=
[ "$what" = serve ] || feast=1
for argument in "$@"; do
    case $argument in
    --feast) feast=1 ;;
    --no-feast) feast= ;;
    *) options+=("$argument") ;;
    esac
done
section "Set-up"
programs=(pillion pilliond make_release pillion-load pillion-null pillion-fill)
if [ "$what" = serve ]; then
    setup_debian "${debian_build[@]}" "${debian_run[@]}" "${debian_test[@]}"
    if [ -n "$feast" ]; then
        setup_feast
        options+=(--feast "$feast_venv/bin")
    fi
else
    setup_debian "${debian_build[@]}" "${debian_run[@]}" "${debian_test[@]}" "${debian_bench[@]}"
    programs+=(pillion-embed)
    setup_clients
    [ -z "$feast" ] || setup_feast_redis
fi
setup_preset release -DBUILD_TESTING=ON -- "${programs[@]}"
section "Measurements"
exec python3 "bench/run_$what.py" ${options[@]+"${options[@]}"}
