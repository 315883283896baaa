#!/usr/bin/env bash
# Checks the models with SPIN, and that it finds the mistakes put into them. Seconds; at most 1 GiB.
# Exit code 1 when a model does not hold or a mistake is not found.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
failed=0

# check NAME EXPECTED MODEL [-Dmacro…]: assertions first, then the ltl formula under weak fairness.
# Death is a `provided` clause, which partial order reduction does not know: it is off.
check() {
  local name=$1 expected=$2 model=$3 verdict=holds
  shift 3
  spin "$@" -a "$here/$model" > /dev/null
  gcc -O2 -w -DSAFETY -DNOCLAIM -DNOREDUCE -DCOLLAPSE -DMEMLIM=1024 -o assertions pan.c
  gcc -O2 -w -DNOREDUCE -DCOLLAPSE -DMEMLIM=1024 -DNFAIR=3 -o temporal pan.c
  ./assertions -E -m200000 > assertions.out
  ./temporal -a -f -E -m200000 > temporal.out
  grep -q 'errors: 0' assertions.out && grep -q 'errors: 0' temporal.out || verdict=fails
  if grep -qE 'not completed|too small|max search depth' assertions.out temporal.out && [ "$verdict" = holds ]; then
    verdict=unfinished
  fi
  say "$name" "$expected" "$verdict" temporal.out
}

# check_safety NAME EXPECTED MODEL [-Dmacro…]: assertions, and that nobody who lives waits for ever.
check_safety() {
  local name=$1 expected=$2 model=$3 verdict=holds
  shift 3
  spin "$@" -a "$here/$model" > /dev/null
  gcc -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=1024 -o assertions pan.c
  ./assertions -m400000 > assertions.out
  if ! grep -q 'errors: 0' assertions.out; then verdict=fails
  elif grep -qE 'not completed|too small|max search depth' assertions.out; then verdict=unfinished
  fi
  say "$name" "$expected" "$verdict" assertions.out
}

# check_deaths NAME EXPECTED MODEL [-Dmacro…]: assertions, where death is a `provided` clause.
check_deaths() {
  local name=$1 expected=$2 model=$3 verdict=holds
  shift 3
  spin "$@" -a "$here/$model" > /dev/null
  gcc -O2 -w -DSAFETY -DNOREDUCE -DCOLLAPSE -DMEMLIM=1024 -o assertions pan.c
  ./assertions -m400000 > assertions.out
  if ! grep -q 'errors: 0' assertions.out; then verdict=fails
  elif grep -qE 'not completed|too small|max search depth|out of memory' assertions.out; then verdict=unfinished
  fi
  say "$name" "$expected" "$verdict" assertions.out
}

say() { # NAME EXPECTED VERDICT OUTPUT
  if [ "$3" = "$2" ]; then
    printf 'ok   %s: %s, %s states\n' "$1" "$3" "$(sed -n 's/ *\([0-9.e+]*\) states, stored.*/\1/p' "$4")"
  else
    printf 'FAIL %s: %s, expected: %s\n' "$1" "$3" "$2"
    failed=1
  fi
}

check "recovery, 2 managers" holds recovery.pml -DN=2
for mistake in 1 2 3 4; do
  check "recovery, mistake $mistake" fails recovery.pml -DN=2 -DMISTAKE=$mistake
done
check_safety "queue lock, 3 processes" holds queue_lock.pml
for mistake in 1 2; do
  check_safety "queue lock, mistake $mistake" fails queue_lock.pml -DMISTAKE=$mistake
done
check_deaths "coherence, 3 nodes" holds coherence.pml -DN=3
check_deaths "coherence, 2 nodes that share, run and rest" holds coherence.pml -DN=2 -DSHARE -DQUIET
for mistake in 1 2 3 4 5 6 7 8 9 10; do
  check_deaths "coherence, mistake $mistake" fails coherence.pml -DN=2 -DSHARE -DQUIET -DMISTAKE=$mistake
done
check_safety "epochs, two ends, a roll-back" holds epoch.pml
check_safety "epochs, an end, two roll-backs" holds epoch.pml -DENDS=1 -DROLLS=2
check_safety "epochs, mistake 1" fails epoch.pml -DENDS=1 -DROLLS=2 -DMISTAKE=1
for mistake in 2 3 4 5; do
  check_safety "epochs, mistake $mistake" fails epoch.pml -DMISTAKE=$mistake
done
exit $failed
