#!/usr/bin/env bash
# lab: --kernel backports
# Software coherence, again and again: a stock guest boots, fills memory, runs the self-checking SMP stress and the
# litmus tests, finds its memory as it was, and ends; over two and over four nodes, without limit of local memory
# and with a quarter of the guest's RAM.
# Not part of tools/test, for its length:
#   tools/lab run --kernel backports --timeout 7200 -- tests/cluster/campaign_coherence.sh [TIMES] [CONFIGURATION…]
# A configuration is NODES or NODESxLOCAL (2 2x64M 4 4x64M). SECONDS_EACH (default 8): of stress.
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

times=${1:-10}
shift || true
[ $# -gt 0 ] || set -- 2 2x64M 4 4x64M
declare -A good

# More than the local memory of a node, written before the stress and read after it.
fill='dd if=/dev/urandom of=/part bs=1M count=8 2> /dev/null; for i in 1 2 3 4 5 6 7 8 9 10; do cat /part >> /file; done
before=$(md5sum < /file)'
compare='[ "$before" = "$(md5sum < /file)" ] && echo "FILE same"'

# False at the first thing that is not right, and what was wrong is said.
one() { # CONFIGURATION NUMBER
  local nodes=${1%%x*} name="c${1//[^0-9]/-}n$2" limit=()
  [[ $1 != *x* ]] || limit=(--local-memory "${1#*x}")
  start "$name" "$fill; smp_stress --seconds ${SECONDS_EACH:-8} && litmus --seconds ${LITMUS_SECONDS:-4}; $compare" \
    --nodes "$nodes" --cpus "$nodes" --memory 256M --coherence software "${limit[@]}"
  wait_for "$name" "^smp_stress: ok" 300 || return 1
  wait_for "$name" "^litmus: ok" 120 || return 1
  ends "$run_pid" 90 0 || return 1
  grep -q '^FILE same' "$dir/$name.out" || { echo "a file in memory is not what it was"; return 1; }
  exec {console_in}>&-
  grep -ohE 'software coherence: .*' "$dir/$name.err" "$dir/$name.out" | tail -n 1
  [[ $1 != *x* ]] || ! grep -q ' 0 evicted' "$dir/$name.err" || { echo "nothing was evicted"; return 1; }
  nothing_left
}

for ((n = 1; n <= times; ++n)); do
  for configuration; do
    began=$SECONDS
    if one "$configuration" "$n" > "$dir/said" 2>&1; then
      good[$configuration]=$((${good[$configuration]:-0} + 1))
      ok "$configuration, run $n ($((SECONDS - began)) s): $(cat "$dir/said")"
    else
      kill -9 "$run_pid" 2> /dev/null
      fail "$configuration, run $n ($((SECONDS - began)) s)"
      sed 's/^/      | /' "$dir/said"
      sleep 1
    fi
  done
done
for configuration; do echo "$configuration: ${good[$configuration]:-0} of $times"; done
done_testing
