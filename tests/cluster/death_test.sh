#!/usr/bin/env bash
# A node or the launcher is killed: the guest ends at once and nothing is left.
. "$(dirname "$0")/lib.sh"

start node-death 'sleep 100' --nodes 3 --cpus 3 --pool "$dir/pool"
check "boots" wait_for node-death DVM-USERSPACE 60
victim=$(ctl node-death --json status | grep -o '"pid":[0-9]*' | sed -n '2s/.*://p') # nodes, in order
check "status names node 1's process" kill -0 "$victim"
kill -9 "$victim"
check "dvm-run ends with 1 within a second" ends "$run_pid" 1 1
check "and says which node died" grep -q "node 1 (pid $victim) died: killed by signal 9" "$dir/node-death.err"
check "nothing is left" nothing_left
check "the pool file is gone" [ ! -e "$dir/pool" ]

start run-death 'sleep 100' --nodes 2 --cpus 2
check "boots" wait_for run-death DVM-USERSPACE 60
kill -9 "$run_pid"
wait "$run_pid" 2> /dev/null
sleep 1
check "the nodes end with their launcher" [ -z "$(pgrep '^dvm-')" ]
done_testing
