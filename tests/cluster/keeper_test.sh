#!/usr/bin/env bash
# Nodes that are killed, hang or lose their power while the guest checks itself: with --protect flush it goes on,
# from the very instruction.
# shellcheck disable=SC2154,SC2317 # run_pid is lib.sh's; functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cluster/fault_lib.sh
. tests/cluster/fault_lib.sh
# shellcheck source=tests/cluster/keeper_lib.sh
. tests/cluster/keeper_lib.sh
RANDOM=1

start_keep
check "works" wait_for keep WORKING 90 || exit 1
check "status says how it is protected" grep -q 'protect flush$' <(ctl keep status)

for node in 0 1 2; do
  sleep "0.$((RANDOM % 10))"
  kill -9 "$(pid_of $node)"
  check "node $node is killed and taken off" gone $node
  ! ended || exit 1
  check "it is back" back $node
done
check "power fails" inject keep power-fail 1
check "the node leaves" gone 1
check "a node hangs" inject keep hang 2
check "it is powered off" gone 2
! ended || exit 1
told_of_all() { ctl keep status | grep -q '^nodes that ended while the guest went on: 3 killed, 1 hung, 1 lost their power'; }
check "status tells of them" told_of_all
check "and the metrics" grep -q '^dvm_recoveries_total{guest="keep",kind="power_failed"} 1' <(ctl keep metrics)
ends_well
check "every death is told" told keep node_died '"node":' 4
check "and what became of it" told keep node_recovered '"vcpus":' 4
check "and the power" told keep power_failing '"node":1' 1

rm "$dir/keep.in" "$dir/keep.events"
start_keep
check "works" wait_for keep WORKING 90 || exit 1
check "a node and its keeper are killed" inject keep kill-host 1
check "that is the guest's end" ends "$run_pid" 30 1
check "nothing is left" nothing_left
done_testing
