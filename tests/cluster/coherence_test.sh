#!/usr/bin/env bash
# Pages change hands between two nodes under a stock guest: SMP stress and litmus find nothing, with all the
# local memory there is and with a quarter of RAM; a dump, and a node's death.
# lab: --kernel backports
# shellcheck disable=SC2016,SC2317 # what the guest expands; functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

counter() { # NAME KEY: the sum over the nodes
  ctl "$1" --json status | grep -o "\"$2\":[0-9]*" | cut -d: -f2 | awk '{ s += $1 } END { print s + 0 }'
}
count_of() { # TITLE NAME KEY: said, and not 0
  local n
  n=$(counter "$2" "$3")
  check "$1: $n" [ "$n" -gt 0 ]
}

software="--nodes ${NODES:-2} --cpus 4 --placement ${PLACEMENT:-0,1,0,1} --memory 256M --coherence software"
work="smp_stress --seconds ${SECONDS_EACH:-8}; litmus --seconds ${SECONDS_LITMUS:-4}; echo READY; read -r line"

# shellcheck disable=SC2086 # words
start whole "$work" $software
check "the guest runs to the end of its work" wait_for whole '^READY' 120
check "SMP stress" wait_for whole '^smp_stress: ok' 1
check "litmus" wait_for whole '^litmus: ok' 1
count_of "pages changed hands" whole hand_overs
count_of "pages were found hot, and shared" whole coherent_memory_used
check "a dump without a node's help" ctl whole dump "$dir/core"
check "has the kernel in it" grep -qaF 'Linux version 6' "$dir/core"
rm -f "$dir/core"
echo go >&"$console_in"
check "it ends in order" ends "$run_pid" 20 0

# shellcheck disable=SC2086 # words
start quarter "$work" $software --local-memory 64M --events "$dir/quarter.events"
check "a quarter of RAM: the guest runs to the end of its work" wait_for quarter '^READY' 120
check "a quarter of RAM: SMP stress" wait_for quarter '^smp_stress: ok' 1
check "a quarter of RAM: litmus" wait_for quarter '^litmus: ok' 1
count_of "a quarter of RAM: pages went home for room" quarter evicted
victim=$(ctl quarter --json status | grep -o '"pid":[0-9]*' | sed -n '2s/.*://p')
kill -9 "$victim"
check "a node's death ends the guest" ends "$run_pid" 3 1
check "the other brought home what it had" grep -q '"event":"pages_recovered"' "$dir/quarter.events"
check "all of it" grep -q '"lost":0,"node":1' "$dir/quarter.events"
check "nothing is left" nothing_left
done_testing
