#!/usr/bin/env bash
# long
# Hosts that are lost, a node with its keeper, while the guest checks itself: with --protect epoch it goes back to the
# last epoch and on from there, and what the outside saw is neither taken back nor said again.
# shellcheck disable=SC2154,SC2317 # run_pid is lib.sh's; functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cluster/fault_lib.sh
. tests/cluster/fault_lib.sh
# shellcheck source=tests/cluster/keeper_lib.sh
. tests/cluster/keeper_lib.sh
RANDOM=1
# The loop forks for each line, and a page that is new to an epoch costs a fault: one took two seconds under emulation.
least_lines=8

# Numbers are given in order.
back_of_two() { if [ "$1" -lt "$2" ]; then back "$1" && back "$2"; else back "$2" && back "$1"; fi; }

start_keep epoch
check "works" wait_for keep WORKING 240 || exit 1
check "status says how it is protected" grep -q 'protect epoch$' <(ctl keep status)
for node in 0 2; do
  sleep "0.$((RANDOM % 10))"
  check "host $node is lost" inject keep kill-host $node
  check "it is taken off" gone $node
  ! ended || exit 1
  check "it is back" back $node
done
# Two at once; and one with the fabric manager.
inject keep kill-host 0 &
check "hosts 0 and 1 are lost" inject keep kill-host 1
wait $!
check "both are taken off" eval 'gone 0 && gone 1'
! ended || exit 1
check "both are back" eval 'back 0 && back 1'
# While the guest goes back, who takes it there is lost as well.
taker=$(ctl keep --json status | grep -o '"coordinator": *[0-9]*' | grep -o '[0-9]*$')
first=$(((taker + 1) % 3))
check "host $taker is to be lost in a roll-back" inject keep kill-host "$taker" --at-point epoch.pages_back
check "host $first is lost" inject keep kill-host $first
check "both are taken off" eval "gone $first && gone $taker"
! ended || exit 1
check "both are back" eval "back_of_two $first $taker"
inject keep kill fabric &
check "host 2 is lost, and the fabric manager" inject keep kill-host 2
wait $!
check "it is taken off" gone 2
! ended || exit 1
check "it is back" back 2
kill -9 "$(pid_of 1)"
check "a node alone is killed and taken off" gone 1
check "it is back" back 1
# While an interrupt is being given to KVM, which counts those it injects.
let_nodes_die vcpu.injecting:3 vcpu.injected:1
! ended || exit 1
ends_well
check "every loss is told" [ "$(grep -c '"event":"rolled_back"' "$dir/keep.events")" -ge 4 ]
done_testing
