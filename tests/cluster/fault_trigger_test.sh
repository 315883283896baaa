#!/usr/bin/env bash
# dvm-fault: faults that wait for a point, for a random time, or for the next fabric manager; a panic.
# shellcheck disable=SC2317 # functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cluster/fault_lib.sh
. tests/cluster/fault_lib.sh

check "boots" begin point
echo '{"faults":[{"fault":"kill","node":1,"at_point":"node.starts_vcpus"},
  {"fault":"telemetry","node":0,"reading":"wear","value":3,"seed":7,"mean_ms":100}]}' > "$dir/plan.json"
check "a plan is armed" inject point plan "$dir/plan.json"
check "a random fault comes" told_soon point fault_injected '"fault":"telemetry"'
check "the other waits for its point" told point fault_injected '"fault":"kill"' 0
check "reset, at which node 1 starts its vCPUs" ctl point reset
check "it dies there" ends "$run_pid" 30 1
check "is an event, once" told point fault_injected '"fault":"kill"'

# The fabric manager dies; whoever takes its place knows the fault that waits, and tells the death once.
check "boots" begin takeover
check "a fault that waits" inject takeover kill 1 --at 2000
check "the manager is killed" inject takeover kill fabric
check "its death is told" wait_for takeover 'the fabric manager .* died' 5
check "the fault comes all the same" ends "$run_pid" 15 1
check "once" told takeover fault_injected '"fault":"kill".*"target":"node 1"'
check "and the death is told once" told takeover node_died '"node":1'

check "boots" begin panics --on-panic exit
check "panic-guest" inject panics panic-guest
check "ends with 3" ends "$run_pid" 60 3
check "is an event" told panics fault_injected '"fault":"panic-guest"'
check "the guest says so" grep -qE 'Kernel panic|double fault' "$dir/panics.out"
check "nothing is left" nothing_left
done_testing
