#!/usr/bin/env bash
# dvm-run --ghosts: launchers that wait become clones, others come in their place, and all but guests end with it.
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

build/bin/dvm-run --ghosts 2 --net user 2> "$dir/ghosts.err" &
keeper=$!
started+=("$keeper")
waiting() { pgrep '^dvm-ghost' | sort -n; }
own_kib() { awk '/^Private_/ { sum += $2 } END { print sum }' "/proc/$1/smaps_rollup"; }
are_small() {
  local pid most=0 kib
  for pid in $(waiting); do
    kib=$(own_kib "$pid")
    [ "$kib" -le "$most" ] || most=$kib
    [ "$kib" -le 2048 ] || { echo "      $(tr '\0' ' ' < "/proc/$pid/cmdline"): $kib KiB"; return 1; }
  done
  echo "      at most $most KiB of its own each"
}
eight_wait() { # two launchers, each with dvm-fabric, dvm-node and dvm-net
  local until=$((SECONDS + patience * 30))
  until [ "$(waiting | wc -l)" = 8 ]; do
    [ "$SECONDS" -lt "$until" ] || { waiting; return 1; }
    sleep 0.1
  done
}
check "two launchers wait, and their programs" eight_wait
check "it says so" grep -q '2 ghosts wait' "$dir/ghosts.err"
check "each has at most 2 MiB of its own" are_small

start parent 'i=0; while :; do i=$((i + 1)); echo "line $i"; sleep 0.1; done' --cpus 1 --memory 256M --net user
check "the parent runs" wait_for parent '^line 5' 120 || exit 1
parent=$run_pid
taken=$(waiting | head -n 1)
check "a fork" ctl parent fork clone
check "took one that waited" grep -q "the ghost with pid $taken becomes a guest" "$dir/ghosts.err"
check "which is the clone's launcher" [ "$(cat "$DVM_RUNTIME_DIR/clone/pid")" = "$taken" ]
check "others wait in its place" eight_wait
check "saved" ctl parent checkpoint "$dir/file"
check "a file goes on" build/bin/dvm-run --resume "$dir/file" --name two --detach
check "in one that waited" [ "$(grep -c 'becomes a guest' "$dir/ghosts.err")" = 2 ]
check "others wait in its place" eight_wait
cannot() {
  local code=0
  build/bin/dvm-run --resume "$dir/none" --name three --detach 2> "$dir/cannot" || code=$?
  sed 's/^/      | /' "$dir/cannot"
  [ "$code" = 64 ] || [ "$code" = 1 ] && grep -q "$dir/none" "$dir/cannot"
}
check "what cannot be done is told as ever" cannot
kill -9 "$(waiting | head -n 1)"
check "one that is killed is replaced" eight_wait
kill -TERM "$keeper"
check "their keeper ends with 0" ends "$keeper" 20 0
none_waits() {
  local until=$((SECONDS + patience * 20))
  while [ -n "$(waiting)" ]; do [ "$SECONDS" -lt "$until" ] || return 1; sleep 0.1; done
}
check "and all that waited with it" none_waits
for guest in clone two; do
  check "$guest runs on" grep -q '"state":"running"' <(ctl "$guest" --json status)
  check "and is stopped" ctl "$guest" stop
done
ctl parent stop
check "the parent ends" ends "$parent" 20 0
check "nothing is left" nothing_left
done_testing
