#!/bin/sh
# The disk benchmark's part inside: runs fio's jobs on /dev/vda, one after the other. From the kernel's command
# line: dvm.jobs=randread-4k-1,write-1m-16,… (pattern, block, depth) and dvm.seconds=S for each.
# Prints for each "BENCH result JOB REQUESTS_PER_SECOND REQUESTS".
word() { tr ' ' '\n' < /proc/cmdline | sed -n "s/^$1=//p"; }
seconds=$(word dvm.seconds)
jobs=$(word dvm.jobs | tr ',' ' ')
{
  echo "[global]"
  echo "filename=/dev/vda"
  echo "direct=1"
  echo "ioengine=libaio"
  echo "time_based=1"
  echo "runtime=${seconds}s"
  echo "randrepeat=1"
  echo "norandommap=1"
  for job in $jobs; do
    depth=${job##*-} rest=${job%-*}
    echo "[$job]"
    echo "stonewall"
    echo "rw=${rest%-*}"
    echo "bs=${rest##*-}"
    echo "iodepth=$depth"
    echo "exec_prerun=bench-mark begin $job"
    echo "exec_postrun=bench-mark end $job"
  done
} > /jobs.fio
# Once for nothing: the program and its libraries are then in memory.
fio --version > /dev/null
cd /tmp || exit 1
fio --eta=never --output-format=terse --terse-version=3 --output=/results /jobs.fio || exit 1
# Fields of the format: 3 name, 6 and 47 KiB read and written, 8 and 49 requests a second.
awk -F ';' '$1 == 3 {
  n = split($3, part, "-")
  size = part[n - 1]
  unit = size ~ /m$/ ? 1024 : 1
  requests = ($6 + $47) / (size * unit)
  print "BENCH result", $3, $8 + $49, requests
}' /results
