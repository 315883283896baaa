#!/usr/bin/env bash
# dvm-fault: what a guest survives, with its events; what cannot be is refused in one line.
# shellcheck disable=SC2317 # functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cluster/fault_lib.sh
. tests/cluster/fault_lib.sh

refused() { # CODE REGEX WORD…
  local code=$1 pattern=$2 actual=0
  shift 2
  timeout 20 build/bin/dvm-fault "$@" > "$dir/out" 2> "$dir/err" || actual=$?
  if [ "$actual" = "$code" ] && [ "$(wc -l < "$dir/err")" = 1 ] && grep -qE -- "$pattern" "$dir/err" && [ ! -s "$dir/out" ]; then
    ok "$(cat "$dir/err")"
  else
    fail "exit code $actual (expected $code): dvm-fault $*"
    sed 's/^/      | /' "$dir/err"
  fi
}
plan() { echo "$3" > "$dir/plan.json"; refused "$1" "$2" plan "$dir/plan.json"; }

refused 64 'no command'
refused 64 'explode' explode 1
refused 64 'node' kill
refused 64 'node: found 16' kill 16
refused 64 'node' kill one
refused 64 'too many' kill 0 1
refused 64 '--for' hang 0 --for 0
refused 64 '--for|for_ms' kill 0 --for 10
refused 64 '--share' slow 0 --share 100
refused 64 'dvm-fault points' kill 0 --at-point no.such.point
refused 64 'more than one trigger' kill 0 --at 5 --random 1
refused 64 'KIND' telemetry 0 humidity 5
refused 64 'needs an address' corrupt page
refused 64 'address: found' corrupt page here
refused 64 'corrupt: record' corrupt moon
refused 64 'unknown option' kill 0 --gently
plan 64 'not valid JSON' '{"faults":['
plan 64 'faults\[1\]: kill: unknown key' '{"faults":[{"fault":"panic-guest"},{"fault":"kill","node":0,"hard":1}]}'
refused 64 'No such file' plan "$dir/absent"
refused 1 'no guest' --name nobody kill 0
check "points are listed" grep -q '^event_log.written$' <(build/bin/dvm-fault points)

check "boots" begin unharmed
refused 1 'node: found 5; allowed: 0 to 1' --name unharmed kill 5
check "telemetry" inject unharmed telemetry 1 temperature 95
check "is an event" told_soon unharmed fault_injected '"fault":"telemetry".*"value":95'
check "is a reading" told_soon unharmed node_health '"node":1.*"reading":"temperature".*"value":95'
check "stands in the status" grep -q 'temperature 95' <(ctl unharmed status)
check "is a metric" grep -q '^dvm_node_health{.*node="1",reading="temperature"} 95' <(ctl unharmed metrics)
refused 1 "found 0xfffffffff000; allowed: one of the guest's RAM" --name unharmed corrupt page 0xfffffffff000
check "a hang shorter than the deadline" inject unharmed hang 1 --for 150
check "is an event" told_soon unharmed fault_injected '"fault":"hang".*"target":"node 1"'
check "and ends" told_soon unharmed fault_ended '"fault":"hang"'
check "the guest goes on" lives unharmed
check "a partition" inject unharmed partition 1 --for 400
check "that heals" told_soon unharmed fault_ended '"fault":"partition"'
check "the guest goes on" lives unharmed
check "a slow node" inject unharmed slow 1 --for 1000 --share 40
check "is an event" told_soon unharmed fault_injected '"fault":"slow"'
check "and ends" told_soon unharmed fault_ended '"fault":"slow"'
check "the guest goes on" lives unharmed
check "the pool is whole" ctl unharmed check
check "a damaged header" inject unharmed corrupt header
check "is an event" told_soon unharmed fault_injected '"fault":"corrupt"'
reports() { ! ctl unharmed check > /dev/null 2> "$dir/check" && grep -qE "$1" "$dir/check" && cat "$dir/check"; }
check "is reported" reports 'header checksum 0x[0-9a-f]+ at offset 0x[0-9a-f]+'
for record in machine events instances membership directory; do
  check "a damaged record: $record" inject unharmed corrupt record "$record"
  check "is reported" reports "$record.* at offset 0x[0-9a-f]+"
done
check "the guest goes on" lives unharmed
check "a fault at a time" inject unharmed kill 1 --at 300
check "is armed" grep -q 'fault .*: kill node 1: armed' "$dir/fault.out"
check "and kills" ends "$run_pid" 10 1
check "is an event" told unharmed fault_injected '"fault":"kill".*"target":"node 1"'
check "node 1 died" grep -q 'node 1 (pid .*) died: killed by signal 9' "$dir/unharmed.err"
check "nothing is left" nothing_left
done_testing
