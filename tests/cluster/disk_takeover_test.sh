#!/usr/bin/env bash
# long
# lab: --modules loop,ext4
# A node is killed at the moment when it has given its vCPU away, with requests of the guest's disks in its hands, again
# and again: others do them, and no byte is wrong or lost.
# shellcheck disable=SC2317 # functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

# Direct I/O needs a file system on a device. When a node is to die, that takes a quarter of a second for each request, so
# that some are in its hands.
truncate -s 160M "$dir/device" && mkfs.ext4 -q "$dir/device"
mkdir "$dir/disks" "$dir/cgroups"
mount -t cgroup2 none "$dir/cgroups" && echo +io > "$dir/cgroups/cgroup.subtree_control"
loop=$(losetup -f --show "$dir/device")
mount "$loop" "$dir/disks"
mkdir "$dir/cgroups/ours" && echo $$ > "$dir/cgroups/ours/cgroup.procs"
device_does() { # N|max: requests a second
  echo "$(cat "/sys/block/${loop#/dev/}/dev") riops=$1 wiops=$1" > "$dir/cgroups/ours/io.max"
}
trap 'umount -q "$dir/disks"; losetup -d "$loop"; umount -q "$dir/cgroups"; cleanup' EXIT

# vda: written and flushed without an end. vdb: written, and read again past the cache.
read -r -d '' script << 'END'
disk_witness --write /dev/vda &
cd /tmp 2> /dev/null || cd /
n=0
while :; do
  n=$((n + 1))
  head -c 262144 /dev/urandom > part
  dd if=part of=/dev/vdb bs=128k seek=$((n % 64 * 2)) oflag=direct 2> /dev/null || echo FAILED write
  dd if=/dev/vdb bs=128k skip=$((n % 64 * 2)) count=2 iflag=direct 2> /dev/null | cmp - part || echo FAILED read
  echo "round $n"
done
END

taken_over() { grep '"event":"disk_taken_over"' "$dir/$1.events" | wc -l; }
goes_on() { # NAME: both disks do
  local rounds flushed i
  rounds=$(count "$1" '^round') flushed=$(count "$1" '^flushed')
  for ((i = 0; i < 200; ++i)); do
    [ "$(count "$1" '^round')" -gt $((rounds + 1)) ] && [ "$(count "$1" '^flushed')" -gt $((flushed + 3)) ] && return
    sleep 0.1
  done
  echo "      rounds $rounds, now $(count "$1" '^round'); flushed $flushed, now $(count "$1" '^flushed')"
  return 1
}

deaths() { # NAME FORMAT ROUNDS OPTION check|reset
  local name=$1 a=$dir/disks/a.$1 b=$dir/disks/b.$1 i
  qemu-img create -q -f "$2" "$a" 16M && qemu-img create -q -f "$2" "$b" 16M
  start "$name" "$script" --nodes 2 --cpus 1 --memory 256M --events "$dir/$name.events" \
    --disk "$a,format=$2,$4" --disk "$b,format=$2,$4"
  check "$name: boots and writes" wait_for "$name" '^round 2' 150 || return
  for ((i = 1; i <= $3; ++i)); do
    check "$name: $i: the vCPU goes to node 1" ctl "$name" migrate-vcpu 0 --to 1
    check "$name: $i: its disks are served there" goes_on "$name"
    device_does 4
    sleep 0.5
    build/bin/dvm-fault --name "$name" kill 1 --at-point move.committed
    check "$name: $i: back to node 0, and node 1 dies of it" ctl "$name" migrate-vcpu 0 --to 0
    device_does max
    check "$name: $i: the death is told" died "$name" "$i"
    check "$name: $i: the disks go on" goes_on "$name"
    check "$name: $i: another node comes" ctl "$name" add-node
  done
  check "$name: requests were taken over each time" [ "$(taken_over "$name")" -ge "$3" ]
  echo "      $(taken_over "$name") times: $(grep -o '"requests":[0-9]*' "$dir/$name.events" | tr '\n' ' ')"
  if [ "$5" = reset ]; then # in which the witness begins anew, so that there is nothing to check afterwards
    check "$name: a reset" ctl "$name" reset
    check "$name: and they are served again" wait_for_more "$name" '^round 2.$' 2
  fi
  check "$name: nothing failed" [ "$(count "$name" FAILED)" = 0 ]
  check "$name: stop" ctl "$name" stop
  check "$name: ends with 0" ends "$run_pid" 30 0
  [ "$5" = reset ] || check "$name: all that was flushed is there" flushed_is_there "$name" "$2" "$a"
  rm "$a" "$b"
}
flushed_is_there() { # NAME FORMAT IMAGE
  qemu-img convert -f "$2" -O raw "$3" "$dir/disks/raw" &&
    "$cache/programs/disk_witness" --check "$dir/disks/raw" --said "$dir/$1.out" && rm "$dir/disks/raw"
}
died() { wait_for "$1" 'died: .* it had no vCPU, the guest goes on' 10 && [ "$(grep -c 'had no vCPU' "$dir/$1.err")" = "$2" ]; }
wait_for_more() { # NAME REGEX N
  local i
  for ((i = 0; i < 900; ++i)); do [ "$(count "$1" "$2")" -ge "$3" ] && return; sleep 0.1; done
  return 1
}

deaths direct raw 4 cache=direct check
deaths buffered raw 2 cache=buffered reset
deaths qcow2 qcow2 2 cache=direct check
check "nothing is left" nothing_left
done_testing
