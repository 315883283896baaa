#!/usr/bin/env bash
# Nodes that die or stand still in the middle of a vCPU's move, at its named points; and one that has nothing, whose
# death the guest outlives.
# shellcheck disable=SC2317 # functions that check calls
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
dies_at committed 0

check "boots" begin waits --nodes 3 --hang-after 20000
check "a target that stands still" inject waits hang 1 --for 3000 --at-point move.prepared
ctl waits migrate-vcpu 0 --to 1 > "$dir/move" 2>&1 &
move=$!
check "others are answered meanwhile" timeout 2 build/bin/dvm-ctl --name waits status > "$dir/status"
check "the vCPU runs on meanwhile" lives waits
check "it is still on its way" kill -0 "$move"
check "then it moves" wait "$move"
check "a target that stands still once it is the vCPU's" inject waits hang 0 --for 1000 --at-point move.committed
check "it moves back" ctl waits migrate-vcpu 0 --to 0
check "and goes on" lives waits

check "evacuate" ctl waits evacuate 1
kill -9 "$(ctl waits --json status | grep -o '"pid":[0-9]*' | sed -n '3s/.*://p')"
check "an empty node's death is told" wait_for waits 'died: .* it was empty, the guest goes on' 10
check "and ends nothing" lives waits
came() { ctl waits add-node > "$dir/came" && ctl waits migrate-vcpu 1 --to 1; }
check "another takes its place" came
check "and the guest goes on" lives waits
check "stop" ctl waits stop
check "ends with 0" ends "$run_pid" 30 0
check "nothing is left" nothing_left
done_testing
