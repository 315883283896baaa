#!/usr/bin/env bash
# long
# lab: --kernel backports --modules loop,ext4
# Disks and a user network while pages change hands: vCPUs of two nodes write, read and fetch what others compare,
# by direct I/O and through the host's cache; then a node dies, and the other brings its pages home.
. "$(dirname "$0")/lib.sh"

# Direct I/O needs a file system that has it.
truncate -s 80M "$dir/device" && mkfs.ext4 -q "$dir/device"
mkdir "$dir/disks" "$dir/www"
mount -o loop "$dir/device" "$dir/disks"
trap 'umount -q "$dir/disks"; cleanup' EXIT
truncate -s 32M "$dir/disks/direct.img" "$dir/buffered.img"
head -c 1048576 /dev/urandom > "$dir/www/part"
sum=$(md5sum < "$dir/www/part" | head -c 32)
busybox httpd -f -p 127.0.0.1:8000 -h "$dir/www" & disown
started+=("$!")

# Each vCPU writes a part that it has made, and reads the one that the other has written.
read -r -d '' script << 'END'
ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
on() { taskset -p $((1 << $1)) $$ > /dev/null; }
for round in 1 2 3; do
  for d in vda vdb; do
    for c in 0 1; do
      on $c
      dd if=/dev/urandom of=/part$c bs=64k count=16 2> /dev/null
      dd if=/part$c of=/dev/$d bs=64k seek=$((round * 32 + c * 16)) conv=notrunc,fsync 2> /dev/null || echo FAILED write
    done
    echo 3 > /proc/sys/vm/drop_caches
    for c in 0 1; do
      on $((1 - c))
      dd if=/dev/$d bs=64k skip=$((round * 32 + c * 16)) count=16 2> /dev/null | cmp - /part$c || echo FAILED read $d $c
    done
  done
done
echo "DISK DONE $(md5sum < /part1)"
for c in 0 1 0; do
  on $c
  ping -c 1 -W 5 10.0.2.2 > /dev/null || echo FAILED ping
  wget -q -O /fetched http://10.0.2.2:8000/part || echo FAILED wget
  on $((1 - c))
  echo "FETCHED $(md5sum < /fetched)"
done
(nc -l -p 22 < /fetched; echo SERVED) &
echo READY
while :; do
  on 0; dd if=/dev/urandom of=/dev/vda bs=64k count=32 conv=fsync 2> /dev/null
  on 1; dd if=/dev/vda of=/dev/null bs=64k count=32 2> /dev/null
done
END
start devices "$script" --nodes 2 --cpus 2 --memory 256M --coherence software --events "$dir/events" \
  --disk "$dir/disks/direct.img,cache=direct" --disk "$dir/buffered.img,cache=buffered" \
  --net user,hostfwd=tcp:127.0.0.1:2222-:22
check "disks" wait_for devices '^DISK DONE' 150
check "network" wait_for devices '^READY' 100
check "what one vCPU wrote or fetched, the other has" [ "$(count devices FAILED)" = 0 ]
check "three times what this host gave" [ "$(count devices "^FETCHED $sum")" = 3 ]
check "the guest gives it back" [ "$(timeout 30 busybox nc 127.0.0.1 2222 < <(sleep 30) | md5sum | head -c 32)" = "$sum" ]
last=$(sed -n 's/^DISK DONE \([0-9a-f]*\).*/\1/p' "$dir/devices.out")
is=$(dd if="$dir/buffered.img" bs=64k skip=112 count=16 status=none | md5sum | head -c 32)
check "the image has the last part" [ "$is" = "$last" ]
hand_overs=$(ctl devices --json pages | sed -n 's/.*"hand_overs":\([0-9]*\).*/\1/p')
check "pages change hands" test "${hand_overs:-0}" -gt 100
ctl devices pages > "$dir/pages"
sed 's/^/      | /' "$dir/pages"
check "the network's process takes part" grep -qE '^net +[0-9]+ +[0-9]+ +[0-9.]+ [KMi]*B +[0-9.]+ MiB +[1-9]' "$dir/pages"

victim=$(ctl devices --json status | grep -o '"pid":[0-9]*' | sed -n '2s/.*://p') # nodes, in order
kill -9 "$victim"
check "a node is killed: the guest ends with 1" ends "$run_pid" 10 1
check "which node died is told" grep -q "node 1 (pid $victim) died: killed by signal 9" "$dir/devices.err"
check "nothing is left" nothing_left
done_testing
