#!/usr/bin/env bash
# lab: --modules loop,ext4
# All nodes are killed while four vCPUs of two nodes write and flush, and with them goes the host's
# power: what had reached the device by then has what the guest was told is flushed.
. "$(dirname "$0")/lib.sh"

# The disk image lies on a file system on a loop device: what was not written back is not in `device`.
truncate -s 64M "$dir/device" && mkfs.ext4 -q "$dir/device"
mkdir "$dir/disks" "$dir/after"
mount -o loop "$dir/device" "$dir/disks"
trap 'umount -q "$dir/disks" "$dir/after"; cleanup' EXIT

witness() { # CACHE
  local disk=$dir/disks/$1.img nodes
  truncate -s 16M "$disk"
  start "$1" 'exec disk_witness --write /dev/vda' --nodes 2 --cpus 4 --disk "$disk,cache=$1"
  check "$1: all vCPUs write" wait_for "$1" '^flushed 3 ...' 90
  mapfile -t nodes < <(ctl "$1" --json status | grep -o '"pid":[0-9]*' | sed -n '2,3s/.*://p')
  kill -9 "${nodes[@]}"
  cp --sparse=always "$dir/device" "$dir/device.after"
  check "$1: ends with 1" ends "$run_pid" 5 1
  mount -o loop "$dir/device.after" "$dir/after" # replays its journal
  check "$1: all that was flushed is there" \
    "$cache/programs/disk_witness" --check "$dir/after/$1.img" --said "$dir/$1.out"
  umount "$dir/after"
  rm "$disk"
}

witness direct
witness buffered
check "nothing is left" nothing_left
done_testing
