#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From nothing to feature vectors on localhost, on a bare Debian 12: sets up, builds, makes data, builds releases,
# serves and queries them, swaps under load, rolls back. Outside build/ it only makes two sockets and installs Debian
# packages. See --help.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'TEXT'
usage: deploy/quickstart.sh [--keep] [--stop]

Shows Pillion at work, on its own data: two views of a ride-hailing company, two million events. Safe to run again; the
second run takes under a minute. Stops all that it started and exits 0 when every answer was right.

  --keep   leave pilliond running, and say how to ask it and how to stop it
  --stop   stop a pilliond that --keep left, and nothing else

environment: PILLION_RESP_PORT (6380), PILLION_FEAST_PORT (6566), PILLION_ADMIN_PORT (9466)
TEXT
}

keep=0 stop=0
for argument in "$@"; do
    case $argument in
    --keep) keep=1 ;;
    --stop) stop=1 ;;
    --help | -h)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
done

# shellcheck source=deploy/setup.sh
. deploy/setup.sh
work=$build/quickstart
socket=${XDG_RUNTIME_DIR:-/tmp}/pillion-quickstart-$(id -u).sock
mapped=${socket%.sock}-mapped.sock
resp_port=${PILLION_RESP_PORT:-6380} feast_port=${PILLION_FEAST_PORT:-6566} admin_port=${PILLION_ADMIN_PORT:-9466}
feast=http://127.0.0.1:$feast_port admin=http://127.0.0.1:$admin_port
export PATH="$build/release/bin:$venv/bin:$PATH" PYTHONDONTWRITEBYTECODE=1
# The history ends today, so that its newest rows are within their time to live. The first release ends a day earlier.
today=$(date -u +%F)
as_of=$(date -u -d "$today - 1 day" +%F)T00:00:00Z
mkdir -p "$work"

# ---- pilliond
stop_pilliond() {
    local pid
    pid=$(cat "$work/pilliond.pid" 2>/dev/null) || return 0
    rm -f "$work/pilliond.pid"
    # The process id may belong to another process by now.
    [ "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -c -- "$socket")" = 1 ] || return 0
    kill -TERM "$pid" 2>/dev/null || return 0
    tail --pid="$pid" -f /dev/null
    good "pilliond (process $pid) drained and stopped"
}
if [ "$stop" = 1 ]; then
    stop_pilliond
    exit 0
fi

# Starts pilliond and waits for the line that it writes when every view has a verified release.
start_pilliond() {
    local line= fifo=$work/ready
    rm -f "$fifo"
    mkfifo "$fifo"
    pilliond --store "dir:$work/store" \
        --serve rides/driver_stats@production --serve rides/driver_city_stats@production \
        --listen "resp=unix:$socket" --listen "resp=tcp:127.0.0.1:$resp_port" --listen "mapped=unix:$mapped" \
        --listen "feast=tcp:127.0.0.1:$feast_port" --listen "admin=tcp:127.0.0.1:$admin_port" \
        --ready-fd 3 3>"$fifo" {lock}>&- >"$work/pilliond.log" 2>&1 </dev/null &
    echo $! >"$work/pilliond.pid"
    read -r -t 60 line <"$fifo" || true
    rm -f "$fifo"
    [ "$line" = ready ] || {
        tail -n 20 "$work/pilliond.log" | sed 's/^/    /'
        die "pilliond did not get ready; its log is build/quickstart/pilliond.log"
    }
}

check_ports() {
    /usr/bin/python3 deploy/quickstart/holder.py "$resp_port" "$feast_port" "$admin_port" "$socket" "$mapped" |
        sed 's/^/  /' ||
        die "stop what holds it, or choose other ports (--help)"
}

# ---- Commands that are printed before they run
shown() {
    printf '  %s$ %s%s\n' "$dim" "$*" "$plain"
    "$@" | sed 's/^/    /'
}
# build VIEW [OPTION...]: sets $release. On a terminal the builder draws its own progress.
build() {
    local view=$1 command
    shift
    command=(pillion build rides.yaml --view "$view" --store dir:store "$@")
    printf '  %s$ %s%s\n' "$dim" "${command[*]}" "$plain"
    if [ "$moving" = 1 ]; then
        release=$("${command[@]}" | tail -n 1)
    else
        release=$("${command[@]}" 2> >(sed 's/^/    /' >&2) | tail -n 1)
    fi
    say "  $release"
}
helper() {
    local script=$1
    shift
    "$venv/bin/python" "$root/deploy/quickstart/$script.py" "$@"
}

cleanup() {
    local code=$?
    stop_step
    if [ "$keep" = 0 ] || [ "$code" != 0 ]; then stop_pilliond; fi
    exit "$code"
}

# ---- The story
exec {lock}>"$work/.lock"
flock -n "$lock" || die "another quickstart is running in this checkout"
printf '%sPillion quickstart%s\n' "$bold" "$plain"
trap cleanup EXIT

section "1  Set-up"
stop_pilliond
[ ! -x /usr/bin/python3 ] || check_ports # before the long set-up, if Python is there already
setup_for run
check_ports
setup_programs
good "$(pilliond --version) in build/release/bin"

section "2  Data: a history of rides, as Parquet"
cp deploy/rides/rides.yaml "$work/rides.yaml"
[ -d "$work/data" ] || rm -f "$build/.setup-quickstart-data"
stamped quickstart-data "$(stamp_of deploy/rides/generate.py)-$today" "deploy/rides/generate.py" \
    "$venv/bin/python" deploy/rides/generate.py --out "$work/data" --end "$today"
helper describe "$work/data"

section "3  From files to releases"
cd "$work"
rm -rf store
shown pillion check rides.yaml
shown pillion apply rides.yaml --store dir:store
build driver_stats --as-of "$as_of"
first=$release
build driver_city_stats
second=$release
shown pillion promote "$first" --channel production --store dir:store
shown pillion promote "$second" --channel production --store dir:store

section "4  Serving"
start_pilliond
good "ready: $(sed -n 's/.*engine=\([^ ]*\).*/engine \1/p' pilliond.log | head -n 1)"
say "the same entities, by three tools and straight from the Parquet:"
agree() { helper agree --store store --socket "$socket" --feast "$feast" "$@"; }
agree --release "$first" --files "data/driver_stats/*.parquet" --as-of "$as_of"
agree --release "$second" --files "data/driver_city_stats/*.parquet"
good "every answer agrees with the Parquet"

section "5  In the model server's own process"
helper latency --store store --release "$first" --service ranking_v1 --files "data/driver_stats/*.parquet" \
    --as-of "$as_of" --mapped "unix:$mapped" --resp "unix:$socket" --feast "$feast" --programs "$build/release/bin"
good "what is mapped is read without a system call"

section "6  A new release under load, and back"
helper swap --store store --socket "$socket" --release "$first" \
    --files "data/driver_stats/*.parquet" --as-of "$as_of" --turns 2 -- \
    "while the second is built=pillion build rides.yaml --view driver_stats --store dir:store | tail -n 1 >second" \
    'promote: the swap!=pillion promote "$(cat second)" --channel production --store dir:store' \
    "rollback!=pillion rollback rides/driver_stats --channel production --store dir:store"
good "no error, no wrong value"

section "7  Where the time went"
printf '  %s$ pillion hist --once --admin tcp:127.0.0.1:%s%s   (of which: driver_stats over RESP)\n' \
    "$dim" "$admin_port" "$plain"
pillion hist --once --admin "tcp:127.0.0.1:$admin_port" |
    awk 'NR == 1; /^  [^ ]/ { show = $0 == "  resp rides/driver_stats" } show' | sed 's/^/    /'

section "Where things are"
say "Redis clients    redis-cli -s $socket HGETALL driver_stats:1001   (also port $resp_port)"
say "mapped           unix:$mapped   (libpillion, Python: pillion.Client; docs/examples)"
say "Feast API        $feast/get-online-features"
say "metrics          $admin/metrics    readiness $admin/readyz?verbose"
say "project, store   build/quickstart/rides.yaml, build/quickstart/store"
if [ "$keep" = 1 ]; then
    say "pilliond runs as process $(cat pilliond.pid); stop it: bash deploy/quickstart.sh --stop"
else
    say "${dim}--keep leaves it running${plain}"
    stop_pilliond
fi
printf '\n%sdone%s in %s s\n' "$bold$green" "$plain" "$SECONDS"
