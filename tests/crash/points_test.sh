#!/bin/sh
# The crash harness knows every failpoint of the locks and the allocator. Run in the source tree.
set -eu
cd "$(dirname "$0")/../.."
in_sources=$(cat fabric/pool_lock.cc fabric/queue_lock.cc fabric/allocator_*.cc fabric/block_*.cc |
  grep -o 'failpoint("[a-z_.]*")' | grep -o '"[a-z_.]*"' | sort -u)
in_list=$(grep -o '"[a-z_]*\.[a-z_]*"' tests/crash/points.h | sort -u)
[ "$in_sources" = "$in_list" ] || { echo "points.h and the sources differ"; exit 1; }
