#!/usr/bin/env bash
# stress-ng with its own checks in a Debian over two nodes: three minutes of CPU, memory, I/O, futexes, context
# switches and semaphores. Not part of tools/test, for its length:
#   tools/lab run --timeout 1200 --disk IMAGE --memory 5G -- tests/cluster/campaign_stress.sh [SECONDS]
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cluster/image_lib.sh
. tests/cluster/image_lib.sh

start_image
check "a login prompt" wait_for image "login:" 240
check "systemd says running" image_runs
in_guest "stress-ng --verify --metrics-brief --timeout ${1:-180}s --cpu 2 --vm 1 --vm-bytes 128M --io 1 --futex 1 \
  --switch 1 --sem 1; echo stress-ng ended with \$?" > "$dir/stress" 2>&1
sed 's/^/      | /' "$dir/stress"
check "stress-ng finds no failure" grep -q '^stress-ng ended with 0' "$dir/stress"
check "nor one line that says so" [ "$(grep -ciE 'stress-ng: (fail|error)' "$dir/stress")" = 0 ]
check "the kernel has nothing to complain of" no_complaints
check "dvm-ctl shutdown" ctl image shutdown
check "ends by itself with 0" ends "$run_pid" 90 0
check "nothing is left" nothing_left
done_testing
