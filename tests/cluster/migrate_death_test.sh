#!/usr/bin/env bash
# long
# Nodes that die at the named points of a vCPU's move, or stand still meanwhile; and one that has nothing, whose
# death the guest outlives.
# shellcheck disable=SC2154,SC2317 # busy is fault_lib's; functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cluster/fault_lib.sh
. tests/cluster/fault_lib.sh

# The vCPU goes from node 0 to node 1. Nobody waits for what will not be: neither the guest nor who asked.
dies_at() { # POINT NODE
  local name=$1 code=0
  check "$name: boots" begin "$name"
  inject "$name" kill "$2" --at-point "move.$1" || return 1
  timeout 20 build/bin/dvm-ctl --name "$name" migrate-vcpu 0 --to 1 > "$dir/ctl" 2>&1 || code=$?
  check "$name: it was there that node $2 died" told_soon "$name" fault_injected '"fault":"kill"'
  check "$name: the asker is told in time" [ "$code" != 124 ]
  check "$name: the guest ends" ends "$run_pid" 30 1
}
dies_at prepared 1
dies_at ready 1
dies_at saved 0

# From the commit on the source has nothing that others need.
check "committed: boots" begin committed
inject committed kill 0 --at-point move.committed
check "committed: the vCPU arrives all the same" ctl committed migrate-vcpu 0 --to 1
check "committed: node 0 died" wait_for committed 'node 0 .* died: .* it had no vCPU, the guest goes on' 10
check "committed: the guest goes on" lives committed
check "committed: stop" ctl committed stop
check "committed: ends with 0" ends "$run_pid" 30 0

start waits "$busy" --nodes 3 --cpus 2 --memory 256M --hang-after 20000 --events "$dir/waits.events"
check "boots" wait_for waits alive 60
check "a target that stands still" inject waits hang 1 --for 3000
ctl waits migrate-vcpu 0 --to 1 > "$dir/move" 2>&1 &
move=$!
answers() { timeout 2 build/bin/dvm-ctl --name waits status > "$dir/status"; }
check "others are answered meanwhile" answers
check "it is still on its way" kill -0 "$move"
check "the vCPU runs on meanwhile" lives waits
check "then it moves" wait "$move"
check "a node that stands still before it takes the vCPU back" inject waits hang 0 --for 1000
check "it moves back" ctl waits migrate-vcpu 0 --to 0
check "and goes on" lives waits

check "evacuate" ctl waits evacuate 1
kill -9 "$(ctl waits --json status | python3 -c 'import json, sys
print(*(node["pid"] for node in json.load(sys.stdin)["nodes"] if node["id"] == 1))')"
check "an empty node's death is told" wait_for waits 'died: .* it was empty, the guest goes on' 10
check "and ends nothing" lives waits
came() { ctl waits add-node > "$dir/came" && ctl waits migrate-vcpu 1 --to 1; }
check "another takes its place" came
check "and the guest goes on" lives waits
check "stop" ctl waits stop
check "ends with 0" ends "$run_pid" 30 0
check "nothing is left" nothing_left
done_testing
