#!/usr/bin/env bash
# long
# lab: --modules loop,ext4
# Every process of a guest is killed at once, at a random moment: what is in its pool goes on. With --protect epoch from
# the last epoch, after an announced power failure from that very instant; a pool that cannot go on says why.
#   tests/cluster/resume_test.sh [TIMES [SEED]]
# shellcheck disable=SC2016,SC2154 # what the guest is to expand; lib.sh's
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cluster/keeper_lib.sh
. tests/cluster/keeper_lib.sh
times=${1:-3} RANDOM=${2:-1}
pool=$dir/pool disk=$dir/disk.img out=$dir/keep.out
# The loop forks for each line, and a page that is new to an epoch costs a fault.
least_lines=4
truncate -s 16M "$disk"

work="(read -r x < /dev/console; touch /done) & ($count_up) & (disk_witness --write /dev/vda) & echo WORKING
  while [ ! -e /done ]; do smp_stress --seconds 6 || exit 1; done
  clock_check --seconds 3; kill %3; wait %2"
launch() { # PROTECTION
  start keep "$work" --nodes 2 --cpus 2 --memory 192M --protect "$1" --pool "$pool" --disk "$disk"
}
kill_all() { # as if the whole machine had gone
  mapfile -t all < <(pgrep '^dvm-' | while read -r pid; do
    [ "$(tr '\0' ' ' < "/proc/$pid/comm")" = dvm-kvm-probe ] || echo "$pid"; done)
  kill -9 "${all[@]}"
  wait "$run_pid" 2> /dev/null
}
# The console goes on where it was, and so does the file that it is written to.
resume() {
  build/bin/dvm-run --resume "$pool" < "$dir/keep.in" >> "$out" 2>> "$dir/keep.err" &
  run_pid=$!
  started+=("$run_pid")
}
lines_come() { # more of them than there were
  local had until=$((SECONDS + 150))
  had=$(count keep '^line ')
  until [ "$(count keep '^line ')" -gt $((had + 3)) ]; do
    [ "$SECONDS" -lt "$until" ] && kill -0 "$run_pid" || { tail -n 5 "$dir/keep.err"; return 1; }
    sleep 0.1
  done
}
ends_whole() {
  echo >&"$console_in"
  check "no wrong result" wait_for keep '^smp_stress: ok' 180
  check "the clock did not go back" wait_for keep '^clock_check: ok' 150
  check "ends with 0" ends "$run_pid" 60 0
  check "no line lost or repeated" lines_are_whole
  check "all that was flushed is there" "$cache/programs/disk_witness" --check "$disk" --said "$out"
  check "no complaint of the kernel's" [ "$(count keep 'BUG|WARNING|Oops|rcu:.*stall|soft lockup')" = 0 ]
  check "the pool is gone" [ ! -e "$pool" ]
  check "nothing is left" nothing_left
}
refused() { # TITLE WHY OPTION…
  local title=$1 why=$2
  shift 2
  build/bin/dvm-run "$@" < /dev/null > "$dir/refused.out" 2> "$dir/refused.err"
  check "$title is refused" [ $? != 0 ]
  check "and it says why" grep -qE -- "$why" "$dir/refused.err" || cat "$dir/refused.err"
}

launch epoch
check "works" wait_for keep WORKING 180 || exit 1
check "it writes its disk" wait_for keep '^flushed [01] ' 90
refused "one that runs" 'in use by another guest' --resume "$pool"
for ((n = 1; n <= times; ++n)); do
  sleep "$((RANDOM % 3)).$((RANDOM % 10))"
  kill_all
  resume
  check "goes on, $n" lines_come || exit 1
done
kill_all
cp --sparse=always "$pool" "$dir/copy"
refused "another memory size" 'found --memory with --resume' --resume "$pool" --memory 1G
refused "to start another guest in it" 'holds a guest that can go on' --kernel "$cache/kernels/cloud/vmlinuz" \
  --memory 192M --pool "$pool"
mv "$disk" "$disk.kept"
truncate -s 8M "$disk"
refused "a disk that became smaller" 'disk .* has 8388608 bytes, and the guest knows 16777216' --resume "$pool"
mv "$disk.kept" "$disk"
truncate -s -1 "$dir/copy"
refused "one that is cut off" 'pool .*copy: ' --resume "$dir/copy"
resume
check "goes on after that" lines_come
kill -9 "$run_pid" # the nodes end with it
resume
check "goes on after its launcher's death" lines_come
mapfile -t all < <(pgrep '^dvm-(node|keeper)')
kill -9 "${all[@]}"
check "with no node left it ends with 1" ends "$run_pid" 20 1
check "and says what to do" grep -q 'ended with a way back; dvm-run --resume' "$dir/keep.err"
resume
check "goes on after all nodes' death" lines_come
kill -PWR "$run_pid"
check "saved as its power failed" ends "$run_pid" 20 0
check "and it says so" grep -q 'saved as its power failed' "$dir/keep.err"
resume
check "goes on from there" lines_come
ends_whole

forget() { rm "$dir/keep.in" "$out" "$dir/keep.err"; }
forget
launch flush
check "works" wait_for keep WORKING 180 || exit 1
for pid in $(pgrep '^dvm-node'); do kill -PWR "$pid"; done # nobody told the launcher
check "saved as its power failed" ends "$run_pid" 20 0
resume
check "goes on from there" lines_come
ends_whole

forget
launch none
check "works" wait_for keep WORKING 180 || exit 1
kill_all
refused "an unprotected one" 'ran with --protect none' --resume "$pool"
done_testing
