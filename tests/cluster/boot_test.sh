#!/usr/bin/env bash
# Three of the boots that `tools/test campaign boot` samples: each kernel once.
. "$(dirname "$0")/lib.sh"

boots() { # KERNEL OPTION…
  kernel=$1
  local name=boot-$1
  shift
  start "$name" 'echo "CPUS $(nproc)"' "$@"
  ends "$run_pid" 60 0 && grep -q "^CPUS $cpus" "$dir/$name.out"
}

cpus=1 check "cloud kernel, 1 node, 1 vCPU" boots cloud --nodes 1 --cpus 1
cpus=8 check "amd64 kernel, 4 nodes, 8 vCPUs" boots amd64 --nodes 4 --cpus 8
cpus=3 check "backports kernel, 2 nodes, 3 vCPUs, placement 1,0,1" boots backports --nodes 2 --cpus 3 --placement 1,0,1
check "nothing is left" nothing_left
done_testing
