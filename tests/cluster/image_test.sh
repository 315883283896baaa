#!/usr/bin/env bash
# lab: --disk DEBIAN --memory 5G
# A Debian disk through SeaBIOS and GRUB: 4 vCPUs over 2 nodes, disk and network, to a login, over ssh,
# and an orderly end. tools/test gives the lab the image as DVM_LAB_DISK, and throws away what is written.
. "$(dirname "$0")/lib.sh"

key=$dir/key
install -m 600 "$cache/disks/id_ed25519" "$key"
in_guest() {
  ssh -q -i "$key" -p 2222 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=20 \
    root@127.0.0.1 "$@"
}

mkdir "$dir/www" && head -c 3000000 /dev/urandom > "$dir/www/package"
(cd "$dir/www" && exec python3 -m http.server 8080 --bind 127.0.0.1 > /dev/null 2>&1) &
started+=($!)

mkfifo "$dir/image.in"
build/bin/dvm-run --name image --disk "$DVM_LAB_DISK" --nodes 2 --cpus 4 --memory 1G \
  --net user,hostfwd=tcp:127.0.0.1:2222-:22 < "$dir/image.in" > "$dir/image.out" 2> "$dir/image.err" &
run_pid=$!
started+=("$run_pid")
exec {console_in}> "$dir/image.in"
check "a login prompt" wait_for image "login:" 240
check "by way of SeaBIOS" grep -q SeaBIOS "$dir/image.out"

# Once everything that starts has started.
for ((i = 0; i < 60; ++i)); do
  state=$(in_guest systemctl is-system-running 2> /dev/null)
  [ "$state" != running ] || break
  sleep 1
done
check "systemd says running" [ "$state" = running ]
[ "$state" = running ] || in_guest 'systemctl --failed; systemctl list-jobs' | sed 's/^/      | /'
check "4 vCPUs" [ "$(in_guest nproc)" = 4 ]
check "a download from the host is whole" \
  [ "$(in_guest 'curl -s http://10.0.2.2:8080/package | sha256sum')" = "$(sha256sum < "$dir/www/package")" ]
check "fio finds what it wrote" in_guest 'fio --name=v --directory=/root --size=8m --rw=randwrite --bs=4k --numjobs=4 \
  --fsync=64 --verify=crc32c --do_verify=1 --group_reporting > /tmp/fio 2>&1 || { cat /tmp/fio; false; }'
complaints=$(in_guest 'dmesg | grep -E "BUG|WARNING|Oops|soft lockup|rcu.*stall|invalid opcode"')
check "the kernel has nothing to complain of" [ -z "$complaints" ]
[ -z "$complaints" ] || sed 's/^/      | /' <<< "$complaints"
check "dvm-ctl shutdown" ctl image shutdown
check "ends by itself with 0" ends "$run_pid" 90 0
check "nothing is left" nothing_left
[ "$failures" = 0 ] || tail -n 40 "$dir/image.out" | sed 's/^/      | /'
done_testing
