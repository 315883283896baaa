#!/usr/bin/env bash
# lab: --kernel backports
# The policies of locality, measured: guest/programs/locality_work.cc does five workloads over two nodes with
# software coherence, once under each policy. Before each, vCPU 0 is on node 0 and vCPU 1 on node 1. Not part of
# tools/test, for its length:
#   tools/lab run --kernel backports --timeout 1800 -- tests/cluster/campaign_locality.sh
# ROUNDS (default 1), WORKLOADS and POLICIES (lists) may be set. The coherent region is little more than the kernel needs, so that
# pages have to move.
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

workloads=${WORKLOADS:-two-sharing private-elsewhere read-mostly moving-phases producer-consumer}
policies=${POLICIES:-static affinity learned}

node_of() { ctl "$1" status | awk -v v="$2" '/^VCPU/ { on = 1; next } on && $1 == v { print $2 }'; }
# Under a policy that moves them, once may not be enough.
place() { # NAME
  local i
  for ((i = 0; i < 20; ++i)); do
    [ "$(node_of "$1" 0)" = 0 ] || ctl "$1" migrate-vcpu 0 --to 0 > /dev/null 2>&1
    [ "$(node_of "$1" 1)" = 1 ] || ctl "$1" migrate-vcpu 1 --to 1 > /dev/null 2>&1
    [ "$(node_of "$1" 0) $(node_of "$1" 1)" = "0 1" ] && return 0
    sleep 0.2
  done
  return 1
}

# One guest for a policy: it waits for each workload's name on its console.
measure() { # POLICY ROUND
  local name=$1-$2 workload
  start "$name" 'while read -r w && [ "$w" != end ]; do locality_work --workload "$w"; done' --nodes 2 --cpus 2 \
    --memory 256M --coherence software --coherent-memory 4M --policy "$1"
  wait_for "$name" DVM-USERSPACE 120 || return 1
  sleep 2
  for workload in $workloads; do
    place "$name" || echo "      $name: vCPUs are not where they were to begin"
    echo "$workload" >&"$console_in"
    wait_for "$name" "^locality_work: .*workload=$workload " 300 || return 1
  done
  echo end >&"$console_in"
  ctl "$name" why > "$dir/$name.why"
  if [ -n "${VERBOSE:-}" ]; then
    sed 's/^/      | /' "$dir/$name.why"
    ctl "$name" status | sed 's/^/      | /'
  fi
  ends "$run_pid" 60 0
}
time_of() { sed -n "s/^locality_work: ok workload=$2 ms=\([0-9]*\).*/\1/p" "$dir/$1"-*.out | sort -n | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'; }

for ((round = 1; round <= ${ROUNDS:-1}; ++round)); do
  for policy in $policies; do
    check "$policy, round $round" measure "$policy" "$round"
  done
done

wins=0 worst=0
printf '%-20s' workload
for policy in $policies; do printf '%12s' "$policy"; done
echo '  (ms)'
for workload in $workloads; do
  printf '%-20s' "$workload"
  for policy in $policies; do printf '%12s' "$(time_of "$policy" "$workload")"; done
  echo
  learned=$(time_of learned "$workload") static=$(time_of static "$workload") affinity=$(time_of affinity "$workload")
  [ -n "$learned" ] && [ -n "$static" ] && [ -n "$affinity" ] || continue
  best=$((static < affinity ? static : affinity))
  [ "$learned" -lt "$best" ] && wins=$((wins + 1))
  [ $((learned * 100 / best)) -gt "$worst" ] && worst=$((learned * 100 / best))
done
if [ "$policies" = "static affinity learned" ]; then
  check "learned is the fastest in at least 4 of 5: $wins" test "$wins" -ge 4
  check "and never takes more than 105 % of the better of the others: $worst %" test "$worst" -le 105
fi
check "no workload found an error" [ "$(cat "$dir"/*.out | grep -c '^locality_work: FAIL')" = 0 ]
check "nothing is left" nothing_left
done_testing
