#!/usr/bin/env bash
# Disks without firmware: what a guest writes on one node it reads on another, it is in the file
# afterwards, and bad disks are refused in one line.
. "$(dirname "$0")/lib.sh"

truncate -s 64M "$dir/a.img"
truncate -s 32M "$dir/ro.img"
echo "read only" | dd of="$dir/ro.img" conv=notrunc status=none
qemu-img create -q -f qcow2 "$dir/q.img" 64M
# Each vCPU writes its own quarter, then reads its neighbour's; both disks.
script='
cd /tmp 2>/dev/null || cd /
for d in vda vdc; do
  for c in 0 1 2 3; do
    yes "disk $d part $c" | head -c 4194304 > /p$c
    taskset -p $((1 << c)) $$ > /dev/null
    dd if=/p$c of=/dev/$d bs=64k seek=$((c * 64)) conv=fsync 2>/dev/null || echo FAILED write
  done
  echo 3 > /proc/sys/vm/drop_caches
  for c in 0 1 2 3; do
    taskset -p $((1 << ((c + 2) % 4))) $$ > /dev/null
    dd if=/dev/$d bs=64k skip=$((c * 64)) count=64 2>/dev/null | cmp - /p$c || echo FAILED read $d $c
  done
done
echo "RO $(head -c 9 /dev/vdb)"
echo x | dd of=/dev/vdb conv=fsync 2>/dev/null && echo FAILED "wrote to a read-only disk"
echo "SERIAL $(cat /sys/block/vda/serial) QUEUES $(ls /sys/block/vda/mq | wc -l)"
echo DISKS-DONE
'
start disks "$script" --nodes 2 --cpus 4 --disk "$dir/a.img,serial=first" --disk "$dir/ro.img,readonly=on" \
  --disk "$dir/q.img,format=qcow2"
check "the guest runs to its end" ends "$run_pid" 200 0
check "all was done" wait_for disks DISKS-DONE 1
check "what one vCPU wrote, others read" [ "$(count disks FAILED)" = 0 ]
check "a read-only disk is read" wait_for disks "RO read only" 1
check "serial and a queue for each vCPU" wait_for disks "SERIAL first QUEUES 4" 1
check "the raw file has it" cmp -n 4194304 -i 12582912:0 "$dir/a.img" <(yes "disk vda part 3" | head -c 4194304)
check "the qcow2 file has it" cmp -n 4194304 <(qemu-img dd -U -f qcow2 -O raw bs=4M count=1 if="$dir/q.img" of="$dir/q.raw" && cat "$dir/q.raw") <(yes "disk vdc part 0" | head -c 4194304)

as=()
cp "$cache/kernels/cloud/vmlinuz" "$dir"
refused() { # TITLE WORD… : exit 64 or 1, one line
  local title=$1 code=0
  shift
  timeout 30 "${as[@]}" build/bin/dvm-run --kernel "$dir/vmlinuz" "$@" < /dev/null > "$dir/o" 2> "$dir/e" || code=$?
  if { [ $code = 64 ] || [ $code = 1 ]; } && [ "$(wc -l < "$dir/e")" = 1 ]; then
    ok "$title: $(cat "$dir/e")"
  else
    fail "$title: exit code $code: $(cat "$dir/e")"
  fi
}
: > "$dir/empty.img"
head -c 1000 /dev/zero > "$dir/odd.img"
refused "a disk that is missing" --disk "$dir/none.img"
refused "an empty one" --disk "$dir/empty.img"
refused "one of no whole sectors" --disk "$dir/odd.img"
refused "a folder" --disk "$dir"
refused "no such format" --disk "$dir/a.img,format=fat"
refused "no such option" --disk "$dir/a.img,speed=high"
# As one who is not root: a disk that others may not read, and one that they may not write.
chmod 755 "$dir"
chmod 600 "$dir/a.img"
as=(setpriv --reuid 65534 --regid 65534 --clear-groups env "DVM_RUNTIME_DIR=$(mktemp -du)")
refused "no permission" --disk "$dir/a.img"
check "is said of the disk" grep -q 'a.img: .*Permission denied' "$dir/e"
chmod 644 "$dir/a.img"
refused "no permission to write" --disk "$dir/a.img"
check "is said of the disk" grep -q 'a.img: may be read but not written' "$dir/e"
as=()
refused "a tap that is not there" --net tap=none0
refused "no such network" --net carrier-pigeon
refused "an address of many" --net user --mac 01:00:5e:00:00:01
refused "a port of none" --net user,hostfwd=tcp::70000-:22
# Says the size of the disk when it changes, and writes its last sector from the other node.
script='old=""; while :; do s=$(cat /sys/block/vda/size); [ "$s" = "$old" ] || { echo "SIZE $s"
  echo "end $s" | taskset 2 dd of=/dev/vda bs=512 seek=$((s - 1)) conv=sync,fsync 2>/dev/null && echo "WROTE $s"; }
  old=$s; usleep 100000; done'
start holder "$script" --nodes 2 --cpus 2 --disk "$dir/a.img,serial=A1"
check "boots" wait_for holder "WROTE 131072" 60
refused "one in use" --disk "$dir/a.img"
check "resize-disk" [ "$(ctl holder resize-disk 0 96M)" = "holder: disk 0: 96 MiB" ]
check "the guest sees it, and can write there" wait_for holder "WROTE 196608" 10
truncate -s 128M "$dir/a.img"
check "resize-disk --to-file" [ "$(ctl holder resize-disk A1 --to-file)" = "holder: disk 0: 128 MiB" ]
check "the guest sees that too" wait_for holder "WROTE 262144" 10
check "it is in the file" [ "$(tail -c 512 "$dir/a.img" | tr -d '\0' | head -n 1)" = "end 262144" ]
smaller() { ! ctl holder resize-disk "$dir/a.img" 64M > "$dir/o" 2>&1 && grep -q 'allowed: at least' "$dir/o"; }
check "a smaller size is refused" smaller
check "in one line" [ "$(wc -l < "$dir/o")" = 1 ]
check "status counts the disk's requests" grep -qE '^disk0 .* A1$' <(ctl holder status)
kill "$run_pid"; sleep 0.3; kill "$run_pid"
check "ends" ends "$run_pid" 10 0
check "nothing is left" nothing_left
done_testing
