#!/usr/bin/env bash
# lab: --kernel backports
# Software coherence: pages of a running guest change hands between two nodes, and its self-checking programs
# find nothing wrong. Read-only copies need Linux 6.4 (docs/coherence.md). SECONDS_EACH (default 10) is the stress's length.
. "$(dirname "$0")/lib.sh"

start coh "smp_stress --seconds ${SECONDS_EACH:-10}; litmus --seconds 5; read -r line" --nodes 2 --cpus 2 --memory 256M \
  --coherence software
check "smp_stress" wait_for coh "^smp_stress: ok" 300
check "litmus" wait_for coh "^litmus: ok" 100
hand_overs=$(ctl coh status | sed -n 's/^coherence software: \([0-9]*\) hand-overs.*/\1/p')
check "pages change hands" test "${hand_overs:-0}" -gt 100
check "metrics tell of them" grep -q '^dvm_pages_taken_total{.*node="1"} [1-9]' <(ctl coh metrics)
echo go >&"$console_in"
check "ends by itself with 0" ends "$run_pid" 60 0
check "nothing is left" nothing_left
done_testing
