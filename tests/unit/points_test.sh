#!/bin/sh
# dvm-fault knows every failpoint of the production code. Run in the source tree.
set -eu
cd "$(dirname "$0")/../.."
in_sources=$({
  grep -rhoE 'failpoint\("[a-z_.]+"\)' fabric hyperkernel srt vmm migration tools | grep -oE '"[^"]+"'
  grep -hoE 'kLinesStaged = "[a-z_.]+"' fabric/line_buffer.h | grep -oE '"[^"]+"'
} | sort -u)
in_list=$(grep -oE '"[a-z_]+\.[a-z_]+"' fabric/point_names.h | sort -u)
[ "$in_sources" = "$in_list" ] || { echo "fabric/point_names.h and the sources differ"; exit 1; }
