#!/usr/bin/env bash
# lab: --kernel backports
# The policies of locality, measured: guest/programs/locality_work.cc does five workloads over two nodes with
# software coherence, under each policy in turn, in one guest. Before each, vCPU 0 is on node 0 and vCPU 1 on node 1.
# Not part of tools/test, for its length:
#   tools/lab run --kernel backports --timeout 1800 -- tests/cluster/campaign_locality.sh
# ROUNDS (default 1), WORKLOADS and POLICIES (lists) may be set; VERBOSE=1 tells why. The coherent region is little more
# than the kernel needs, so that pages have to move.
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

workloads=${WORKLOADS:-two-sharing private-elsewhere read-mostly moving-phases producer-consumer}
read -ra policies <<< "${POLICIES:-static affinity learned}"

# Where the vCPUs are, observations, vCPU moves: one look at all of it, as each look costs the guest's only CPU.
look() {
  local status
  status=$(ctl local --json status)
  at=$(grep -o '"node":[0-9]*' <<< "${status##*'"vcpus":[{'}" | sed 's/.*://' | xargs)
  seen=$(sed -n 's/.*"locality":{[^}]*"seen":\([0-9]*\).*/\1/p' <<< "$status")
  moves=$(sed -n 's/.*"locality":{[^}]*"done":\([0-9]*\).*/\1/p' <<< "$status")
}
# Nobody moves them meanwhile, but a move that was asked for before may come yet.
place() {
  local i
  ctl local policy static > /dev/null
  for ((i = 0; i < 20; ++i)); do
    look
    [ "$at" = "0 1" ] && return 0
    [ "${at% *}" = 0 ] || ctl local migrate-vcpu 0 --to 0 > /dev/null 2>&1
    [ "${at#* }" = 1 ] || ctl local migrate-vcpu 1 --to 1 > /dev/null 2>&1
  done
  return 1
}
# A workload under a policy, which begins with the work: by then the workload's pages are where they are to be at first.
# Its line goes to $dir/results: workload, policy, ms, faults, vCPU moves.
runs=0
measure() { # WORKLOAD POLICY
  local seen_before moves_before
  place || { echo "      vCPUs are not where they were to begin"; return 1; }
  runs=$((runs + 1))
  echo "$1" >&"$console_in"
  printed "$runs" ready || return 1
  look
  seen_before=$seen moves_before=$moves
  ctl local policy "$2" > /dev/null || return 1
  echo go >&"$console_in"
  printed "$runs" ok || return 1
  look
  echo "$1 $2 $(time_of_last "$1") $((seen - seen_before)) $((moves - moves_before))" | tee -a "$dir/results"
  [ -z "${VERBOSE:-}" ] || date +'      | %T'
  [ -z "${VERBOSE:-}" ] || ctl local why | tail -n "$((moves - moves_before + 1))" | tail -n 8 | sed 's/^/      | /'
}
printed() { # TIMES WORD
  local deadline=$((SECONDS + 120))
  while [ "$(count local "^locality_work: $2")" -lt "$1" ]; do
    [ "$SECONDS" -lt "$deadline" ] || { tail -n 120 "$dir/local.out"; return 1; }
    sleep 0.5
  done
}
time_of_last() { sed -n "s/^locality_work: ok workload=$1 ms=\([0-9]*\).*/\1/p" "$dir/local.out" | tail -n 1; }
# The median, or with a second number that rank of a hundred.
of_runs() { # WORKLOAD POLICY COLUMN [PERCENT]
  awk -v w="$1" -v p="$2" -v c="$3" '$1 == w && $2 == p { print $c }' "$dir/results" | sort -n |
    awk -v q="${4:-50}" '{ a[NR] = $1 } END { i = int((NR - 1) * q / 100 + 0.5) + 1; if (NR) print a[i] }'
}

start local 'while read -r w && [ "$w" != end ]; do locality_work --workload "$w" --begin told; done' --nodes 2 --cpus 2 \
  --memory 256M --coherence software --coherent-memory 4M
check "starts" wait_for local DVM-USERSPACE 300 || done_testing
sleep 2
for ((round = 0; round < ${ROUNDS:-1}; ++round)); do
  for workload in $workloads; do
    # Who comes first changes with the rounds.
    for ((i = 0; i < ${#policies[@]}; ++i)); do
      policy=${policies[((i + round) % ${#policies[@]})]}
      measure "$workload" "$policy" && continue
      fail "round $((round + 1)): $workload under $policy"
      kill -0 "$run_pid" 2> /dev/null && ! grep -qE "Oops|BUG|panic" "$dir/local.out" && continue
      tail -n 40 "$dir/local.out" "$dir/local.err" | sed 's/^/      | /'
      done_testing
    done
  done
done
echo end >&"$console_in"
check "ends by itself with 0" ends "$run_pid" 60 0

wins=0 worst=0
printf '%-20s %-10s %10s %10s %10s %10s %6s\n' workload policy ms least most faults moves
for workload in $workloads; do
  for policy in "${policies[@]}"; do
    printf '%-20s %-10s %10s %10s %10s %10s %6s\n' "$workload" "$policy" "$(of_runs "$workload" "$policy" 3)" \
      "$(of_runs "$workload" "$policy" 3 0)" "$(of_runs "$workload" "$policy" 3 100)" \
      "$(of_runs "$workload" "$policy" 4)" "$(of_runs "$workload" "$policy" 5)"
  done
  learned=$(of_runs "$workload" learned 3) static=$(of_runs "$workload" static 3) affinity=$(of_runs "$workload" affinity 3)
  [ -n "$learned" ] && [ -n "$static" ] && [ -n "$affinity" ] || continue
  best=$((static < affinity ? static : affinity))
  [ "$learned" -lt "$best" ] && wins=$((wins + 1))
  [ $((learned * 100 / best)) -gt "$worst" ] && worst=$((learned * 100 / best))
done
if [ "${policies[*]}" = "static affinity learned" ] && [ -z "${WORKLOADS:-}" ]; then
  check "learned is the fastest in at least 4 of 5: $wins" test "$wins" -ge 4
  check "and never takes more than 105 % of the better of the others: $worst %" test "$worst" -le 105
fi
check "no workload found an error" [ "$(count local '^locality_work: FAIL')" = 0 ]
check "nothing is left" nothing_left
done_testing
