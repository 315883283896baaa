#!/usr/bin/env bash
# long
# lab: --kernel backports
# A coherent region that is too small for a guest: what one node alone uses leaves it, and the guest's self-checking
# programs find nothing wrong. SECONDS_EACH (default 10) is the stress's length.
. "$(dirname "$0")/lib.sh"

start region "smp_stress --seconds ${SECONDS_EACH:-10}; litmus --seconds 5; read -r line" --nodes 2 --cpus 2 \
  --memory 256M --coherence software --coherent-memory 2M
check "smp_stress" wait_for region "^smp_stress: ok" 300
check "litmus" wait_for region "^litmus: ok" 100
unshared=$(ctl region metrics | sed -n 's/^dvm_pages_unshared_total{.*} \([0-9]*\)$/\1/p' | awk '{n += $1} END {print n + 0}')
check "pages leave the region ($unshared)" test "${unshared:-0}" -gt 0
check "and come back into it" test "$(ctl region metrics | sed -n 's/^dvm_pages_shared_total{.*} \([0-9]*\)$/\1/p' |
  awk '{n += $1} END {print n + 0}')" -gt 512
echo go >&"$console_in"
check "ends by itself with 0" ends "$run_pid" 60 0
check "nothing is left" nothing_left
done_testing
