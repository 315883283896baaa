#!/usr/bin/env bash
# Self-checking SMP programs over vCPUs of two nodes. SECONDS_EACH (default 20) is the stress's length.
. "$(dirname "$0")/lib.sh"

start smp "smp_stress --seconds ${SECONDS_EACH:-20}; clock_check --seconds 5; hotplug_check --rounds 2; litmus --seconds 5" \
  --nodes 2 --cpus 4 --placement 0,1,0,1
check "the guest runs to its end" ends "$run_pid" $((${SECONDS_EACH:-20} * 3 + 200)) 0
for program in smp_stress clock_check hotplug_check litmus; do
  check "$program" wait_for smp "^$program: ok" 1
done
check "nothing is left" nothing_left
done_testing
