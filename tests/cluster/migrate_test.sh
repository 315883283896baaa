#!/usr/bin/env bash
# vCPUs change their node, nodes are emptied, leave and come, while the guest checks itself: SMP programs, and
# a disk that is written and read back.
. "$(dirname "$0")/lib.sh"

truncate -s 64M "$dir/disk.img"
disk='n=0 bad=0
while [ ! -e /done ]; do
  n=$((n + 1)) at=$((n % 8 * 8))
  dd if=/dev/urandom of=/part bs=128k count=8 2> /dev/null
  dd if=/part of=/dev/vda bs=128k seek=$at conv=notrunc,fsync 2> /dev/null
  echo 3 > /proc/sys/vm/drop_caches
  was=$(md5sum < /part) is=$(dd if=/dev/vda bs=128k skip=$at count=8 2> /dev/null | md5sum)
  [ "$was" = "$is" ] || bad=$((bad + 1))
done
echo "DISK $n rounds, $bad bad"'
# Until it is told that all has been done to it.
start move "($disk) & (read -r x < /dev/console; touch /done) & echo WORKING
  while [ ! -e /done ]; do smp_stress --seconds 8 || exit 1; done
  clock_check --seconds 4; wait" --nodes 3 --cpus 4 --placement 0,1,0,1 --disk "$dir/disk.img" --events "$dir/events"

vcpu_node() { ctl move status | awk -v v="$1" '/^VCPU/ { on = 1; next } on && $1 == v { print $2 }'; }
nodes() { ctl move status | awk '/^NODE/ { on = 1; next } /^$/ { on = 0 } on { printf "%s%s:%s", gap, $1, $3; gap = " " }'; }
refuses() { # WORDS REGEX
  local said
  said=$(ctl move $1 2>&1) && return 1
  grep -qE "$2" <<< "$said" || { echo "      said: $said"; return 1; }
  [ "$(wc -l <<< "$said")" = 1 ]
}

# Before it has booted far: the other vCPUs wait to be started.
check "starts" wait_for move DVM-USERSPACE 90
check "works" wait_for move WORKING 30

RANDOM=1
move_about() { # TIMES NODES…
  local i moved=0 times=$1
  shift
  local targets=("$@")
  for ((i = 0; i < times; ++i)); do
    ctl move migrate-vcpu $((RANDOM % 4)) --to "${targets[RANDOM % $#]}" >> "$dir/moves" || return 1
  done
}
check "20 moves of any vCPU to any node" move_about 20 0 1 2
check "they were moves" [ "$(grep -c 'moved from' "$dir/moves")" -ge 8 ]
check "one that is there already is no error" \
  grep -q 'is on node' <(ctl move migrate-vcpu 0 --to "$(vcpu_node 0)")
check "no such vCPU" refuses "migrate-vcpu 4 --to 0" 'vCPU 4 is not there; allowed: 0 to 3'
check "no such node" refuses "migrate-vcpu 0 --to 7" 'node 7 is not there; allowed: 0, 1, 2'

check "pause" ctl move pause
there=$(vcpu_node 1)
check "a paused guest's vCPU moves" ctl move migrate-vcpu 1 --to $(((there + 1) % 3))
check "resume" ctl move resume

check "evacuate" ctl move evacuate 0
check "node 0 has no vCPU" [ "$(for v in 0 1 2 3; do vcpu_node $v; done | grep -c 0)" = 0 ]
check "it is still there" [ "$(nodes)" = "0:evacuated 1:active 2:active" ]
check "it takes none" refuses "migrate-vcpu 0 --to 0" 'node 0 takes no vCPUs; allowed: 1, 2'
check "remove-node" ctl move remove-node 0
check "it has gone" [ "$(nodes)" = "1:active 2:active" ]
check "add-node gives it back" grep -q 'node 0 is there' <(ctl move add-node)
check "moves to the new node" move_about 6 0 1
check "remove-node of one that runs vCPUs" ctl move remove-node 2
check "and of another" ctl move remove-node 1
check "all runs on the node that came" [ "$(nodes)" = "0:active" ]
check "the last one stays" refuses "evacuate 0" 'node 0 is the last one that runs vCPUs'
check "add-node once more" grep -q 'node 1 is there' <(ctl move add-node)
check "moves over both" move_about 6 0 1
check "metrics count them" [ "$(ctl move metrics | sed -n 's/^dvm_vcpu_moves_total.* //p' | paste -sd+ | bc)" -ge 15 ]

echo done >&"$console_in"
check "the guest runs to its end" ends "$run_pid" 120 0
check "smp_stress" wait_for move '^smp_stress: ok' 1
check "and never anything else" [ "$(count move 'smp_stress: FAIL')" = 0 ]
check "clock_check" wait_for move '^clock_check: ok' 1
check "the disk" wait_for move '^DISK [0-9]+ rounds, 0 bad' 1
grep -E '^DISK' "$dir/move.out"
check "the events tell of the moves" [ "$(grep -c '"event":"vcpu_moved"' "$dir/events")" -ge 15 ]
check "no node died" [ "$(grep -c '"event":"node_died"' "$dir/events")" = 0 ]
check "nothing is left" nothing_left
done_testing
