#!/usr/bin/env bash
# long
# lab: --modules loop,ext4
# A guest under load is saved into a file on 2 nodes, and goes on from there: itself, and others on 1 and on 4 nodes, under any
# protection; one with a disk is saved and ends, and goes on where it was. Files that cannot be gone on from say why.
#   tests/cluster/checkpoint_test.sh
# shellcheck disable=SC2016,SC2154,SC2317 # what the guest is to expand; lib.sh's; functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cluster/keeper_lib.sh
. tests/cluster/keeper_lib.sh
least_lines=4
work="(read -r x < /dev/console; touch /done) & ($count_up) & echo WORKING
  while [ ! -e /done ]; do smp_stress --seconds 4 || exit 1; done; clock_check --seconds 3"

# resume NAME FILE OPTION…: goes on as another guest, with a console of its own. Sets run_pid.
resume() {
  local name=$1 file=$2
  shift 2
  [ -e "$dir/$name.in" ] || mkfifo "$dir/$name.in"
  build/bin/dvm-run --resume "$file" --name "$name" "$@" < "$dir/$name.in" >> "$dir/$name.out" 2>> "$dir/$name.err" &
  run_pid=$!
  started+=("$run_pid")
  exec {console_in}> "$dir/$name.in"
}
lines_come() { # NAME: more of them than there were
  local had until=$((SECONDS + 150))
  touch "$dir/$1.out"
  had=$(count "$1" '^line ')
  until [ "$(count "$1" '^line ')" -gt $((had + 3)) ]; do
    [ "$SECONDS" -lt "$until" ] && kill -0 "$run_pid" || { tail -n 5 "$dir/$1.err" "$dir/$1.out"; return 1; }
    sleep 0.1
  done
}
ends_whole() { # NAME
  echo >&"$console_in"
  check "$1: no wrong result" wait_for "$1" '^smp_stress: ok' 180
  check "$1: the clock did not go back" wait_for "$1" '^clock_check: ok' 150
  check "$1: ends with 0" ends "$run_pid" 60 0
  check "$1: no complaint of the kernel's" [ "$(count "$1" 'BUG|WARNING|Oops|rcu:.*stall|soft lockup')" = 0 ]
}
refused() { # TITLE WHY CMD…
  local title=$1 why=$2
  shift 2
  "$@" < /dev/null > "$dir/refused.out" 2> "$dir/refused.err"
  check "$title is refused" [ $? != 0 ]
  check "and it says why" grep -qE -- "$why" "$dir/refused.err" || cat "$dir/refused.err"
}

start parent "$work" --nodes 2 --cpus 2 --memory 192M --events "$dir/parent.events"
parent_pid=$run_pid parent_in=$console_in
check "works" wait_for parent WORKING 180 || exit 1
check "it counts" lines_come parent
refused "an incremental one with no first" 'no checkpoint of this guest' ctl parent checkpoint "$dir/first" --incremental
check "saved while it runs" ctl parent checkpoint "$dir/first"
check "and goes on" lines_come parent
check "what changed since is less" ctl parent checkpoint "$dir/second" --incremental
blocks() { stat -c %b "$1"; }
check "by far" [ $((2 * $(blocks "$dir/second"))) -lt "$(blocks "$dir/first")" ] || ls -ls "$dir/first" "$dir/second"
refused "one in its base's place" 'stands on .*first, which must stay' ctl parent checkpoint "$dir/first" --incremental
check "an event tells" [ "$(grep -c checkpoint_taken "$dir/parent.events")" = 2 ]

resume one "$dir/first" --nodes 1
check "goes on on one node beside it" lines_come one
check "its pages come when they are touched" grep -q 'come when they are touched' "$dir/one.err"
ends_whole one
resume four "$dir/second" --nodes 4 --placement 3,1 --protect flush
check "goes on on four nodes" lines_come four
check "saved while its pages come" ctl four checkpoint "$dir/third"
ends_whole four

run_pid=$parent_pid console_in=$parent_in
check "paused" ctl parent pause
check "saved as it stands" ctl parent checkpoint "$dir/paused"
check "it still does" grep -q '"state":"paused"' <(build/bin/dvm-ctl --name parent --json status)
check "goes on" ctl parent resume
ends_whole parent
resume paused "$dir/paused" --nodes 1
check "one of a paused guest is paused" wait_for paused ', paused; its pages' 60
check "until it is told to go on" ctl paused resume
check "it does" lines_come paused
ends_whole paused
# Alone: epochs are dear where KVM is emulated.
resume safe "$dir/third" --nodes 2 --protect epoch --pool "$dir/pool"
check "goes on with epochs, from one of one" lines_come safe
check "its pages were read" grep -q 'its pages have been read' "$dir/safe.err"
ends_whole safe
check "the pool is gone" [ ! -e "$dir/pool" ]

refused "another memory size" 'found --memory with --resume' build/bin/dvm-run --resume "$dir/first" --memory 1G
cp --sparse=always "$dir/first" "$dir/copy"
truncate -s -1 "$dir/copy"
refused "one that is cut off" 'copy: cut off' build/bin/dvm-run --resume "$dir/copy"
mv "$dir/first" "$dir/elsewhere"
refused "one without its base" 'its base .*first is not there' build/bin/dvm-run --resume "$dir/second"

# With a disk that it writes.
disk=$dir/disk.img
truncate -s 16M "$disk"
work="(read -r x < /dev/console; touch /done) & (disk_witness --write /dev/vda) & echo WORKING
  while [ ! -e /done ]; do smp_stress --seconds 4 || exit 1; done; clock_check --seconds 3; kill %2; wait %2"
start keep "$work" --nodes 2 --cpus 2 --memory 192M --disk "$disk"
check "works" wait_for keep '^flushed [01] ' 180 || exit 1
refused "a guest that writes to a disk" 'disk .* can be written.*--stop' ctl keep checkpoint "$dir/keep.save"
check "saved, and ended" ctl keep checkpoint "$dir/keep.save" --stop
check "with 0" ends "$run_pid" 20 0
check "its file is whole" [ ! -e "$dir/keep.save.part" ]
rm "$dir/keep.in"
resume keep "$dir/keep.save" --nodes 3 --placement 2,0
check "goes on from there" wait_for keep 'goes on from' 60
ends_whole keep
check "all that was flushed is there" "$cache/programs/disk_witness" --check "$disk" --said "$dir/keep.out"
refused "a second time" 'disk .* has been written since' build/bin/dvm-run --resume "$dir/keep.save"
check "nothing is left" nothing_left
done_testing
