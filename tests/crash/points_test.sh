#!/bin/sh
# The crash harness knows every failpoint of the fabric but those of fault injection and of the event
# log, which its workers do not reach. Run in the source tree.
set -eu
cd "$(dirname "$0")/../.."
in_sources=$(grep -rho 'failpoint("[a-z_.]*")' fabric | grep -o '"[a-z_.]*"' |
  grep -vE '"(fault|event_log)\.' | sort -u)
in_list=$(grep -o '"[a-z_]*\.[a-z_]*"' tests/crash/points.h | sort -u)
[ "$in_sources" = "$in_list" ] || { echo "points.h and the sources differ"; exit 1; }
