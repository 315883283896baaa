#!/usr/bin/env bash
# --cpu: a named model hides what is above it, and is refused where the host lacks what it needs.
# shellcheck disable=SC2317 # functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

model=x86-64-v1
# This lab's CPU has no CMPXCHG16B, unless it was started with --cx16.
if grep -qw cx16 /proc/cpuinfo; then
  model=x86-64-v2
else
  said=$(build/bin/dvm-run --kernel "$cache/kernels/cloud/vmlinuz" --cpu x86-64-v2 2>&1)
  check "a host that lacks a model's features is refused: 1" [ $? = 1 ]
  check "and told which" grep -q 'x86-64-v2 needs: .*cx16' <<< "$said"
fi
check "the host has AES" grep -qw aes /proc/cpuinfo
start limited "echo FLAGS; grep -m1 flags /proc/cpuinfo; echo END; sleep 60" --nodes 2 --cpus 2 --memory 256M \
  --cpu "$model"
check "$model boots" wait_for limited '^END' 60
flags=$(grep '^flags' "$dir/limited.out")
has() { grep -qw -- "$1" <<< "$flags"; }
hasnt() { ! has "$1"; }
check "$model: sse2" has sse2
for flag in aes avx rdrand bmi1 sha_ni rdtscp; do check "$model: no $flag" hasnt "$flag"; done
if [ $model = x86-64-v2 ]; then check "$model: sse4_2" has sse4_2; else check "$model: no sse4_2" hasnt sse4_2; fi
check "stop" ctl limited stop
check "ends" ends "$run_pid" 10 0
check "nothing is left" nothing_left
done_testing
