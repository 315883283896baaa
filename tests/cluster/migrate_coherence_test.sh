#!/usr/bin/env bash
# long
# lab: --kernel backports
# vCPUs move between nodes that keep copies of pages (software coherence), nodes are emptied and come back; their
# pages go home first, and the guest's self-checking programs find nothing wrong.
. "$(dirname "$0")/lib.sh"

start coh "(read -r x < /dev/console; touch /done) &
  while [ ! -e /done ]; do smp_stress --seconds 4 || exit 1; echo ROUND; done; litmus --seconds 2" \
  --nodes 3 --cpus 2 --memory 128M --coherence software --events "$dir/events"
check "works" wait_for coh ROUND 150

RANDOM=1
move_about() { # TIMES NODES…
  local i times=$1
  shift
  local targets=("$@")
  for ((i = 0; i < times; ++i)); do
    ctl coh migrate-vcpu $((RANDOM % 2)) --to "${targets[RANDOM % $#]}" || return 1
  done
}
# Owned pages, and copies, of a node that has no more part in the guest.
pages_of() { ctl coh --json status | python3 -c "
import json, sys
for node in json.load(sys.stdin)['nodes']:
  if node['id'] == $1: print(node['pages']['owned'], node['pages']['replicated'])"; }
check "10 moves" move_about 10 0 1 2 > "$dir/moves" || cat "$dir/moves"
for node in 1 0; do
  check "node $node has pages" [ "$(pages_of "$node")" != "0 0" ]
  check "evacuate node $node" ctl coh evacuate "$node"
  check "all its pages are at home" [ "$(pages_of "$node")" = "0 0" ]
  check "the guest works on" move_about 2 2
  check "remove it" ctl coh remove-node "$node"
  check "add one" ctl coh add-node
  check "moves to it" move_about 4 "$node" 2
done
echo go >&"$console_in"
check "litmus" wait_for coh "^litmus: ok" 150
check "smp_stress never found anything" [ "$(count coh 'smp_stress: FAIL')" = 0 ]
check "no node died" [ "$(grep -c '"event":"node_died"' "$dir/events")" = 0 ]
check "ends by itself with 0" ends "$run_pid" 60 0
check "nothing is left" nothing_left
done_testing
