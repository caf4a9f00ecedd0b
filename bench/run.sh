#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds what is measured and measures it: bench/run.sh serve [option...]. Options and method: --help, bench/README.md.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bench/run.sh serve [--feast] [option...]

  serve     Pillion beside Redis and a server that does nothing, on the same data; latency while releases are swapped
  --feast   Feast's own Python server, too (installed under build/)

Further options, after the first run: bench/run.sh serve --help. Takes about half an hour; --cases and --engines
choose less.
TEXT
}

[ "${1:-}" = serve ] || {
    usage
    [ "${1:-}" = --help ] && exit 0
    exit 2
}
shift
# shellcheck source=deploy/setup.sh
. "$(dirname "$0")/../deploy/setup.sh"
cd "$root"

options=() feast=0
for argument in "$@"; do
    if [ "$argument" = --feast ]; then feast=1; else options+=("$argument"); fi
done
section "Set-up"
setup_debian "${debian_build[@]}" "${debian_run[@]}" "${debian_test[@]}"
setup_preset release -DBUILD_TESTING=ON -- pillion pilliond make_release pillion-load pillion-null pillion-fill
if [ "$feast" = 1 ]; then
    setup_feast
    options+=(--feast "$feast_venv/bin")
fi
section "Measurements"
exec python3 bench/run_serve.py ${options[@]+"${options[@]}"}
