#!/usr/bin/env bash
# A guest on a user network: it gets an address, reaches this host and is reached from it, and goes on
# when the network's process dies.
. "$(dirname "$0")/lib.sh"

mkdir "$dir/www"
echo "hello from the host" > "$dir/www/index.html"
busybox httpd -f -p 127.0.0.1:8000 -h "$dir/www" & disown
started+=("$!")

read -r -d '' script << 'END'
ip link set eth0 up
cat > /udhcpc.sh << 'E'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/24 dev eth0
ip route add default via $router
echo "LEASE $ip $router $dns"
E
chmod +x /udhcpc.sh
udhcpc -i eth0 -s /udhcpc.sh -q -n -t 10 -T 1 2> /dev/null
echo "QUEUES $(ls -d /sys/class/net/eth0/queues/tx-* | wc -l) MAC $(cat /sys/class/net/eth0/address)"
ping -c 2 10.0.2.2 > /dev/null && echo PING-OK
wget -q -O - http://10.0.2.2:8000/
(echo "hello from the guest" | nc -l -p 22; echo SERVED) &
echo READY
read -r line
ping -c 1 -W 5 10.0.2.2 > /dev/null && echo PING-AGAIN
wget -q -O - http://10.0.2.2:8000/ | sed 's/^/again: /'
END

start net "$script" --nodes 2 --cpus 4 --mac 52:54:00:aa:bb:cc \
  --net user,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=udp:127.0.0.1:2223-:23
check "the guest is up" wait_for net READY 90
check "DHCP gives the usual lease" wait_for net '^LEASE 10.0.2.15 10.0.2.2 10.0.2.3' 1
check "one queue pair for each vCPU, the address asked for" \
  wait_for net '^QUEUES 4 MAC 52:54:00:aa:bb:cc' 1
check "this host answers a ping" wait_for net '^PING-OK' 1
check "the guest fetches from this host" wait_for net '^hello from the host' 1
answer() { [ "$(timeout 20 busybox nc 127.0.0.1 2222 < /dev/null)" = "hello from the guest" ]; }
check "a forwarded port leads into the guest" answer
taken() {
  local code=0
  build/bin/dvm-run --name taken --kernel "$cache/kernels/cloud/vmlinuz" \
    --net user,hostfwd=tcp:127.0.0.1:2222-:22 > "$dir/taken.out" 2> "$dir/taken.err" || code=$?
  [ "$code" = 1 ] && grep -q 'hostfwd tcp 127.0.0.1:2222: Address already in use' "$dir/taken.err"
}
check "a port that is taken is named" taken
counted() { ctl net --json status | grep -qE '"kind": ?"user"'; }
check "status has the network" counted

kill -9 "$(pgrep -x dvm-net)"
check "the network is started again" wait_for net 'started again' 20
echo go >&"$console_in"
check "the guest reaches this host again" wait_for net '^again: hello from the host' 40
check "it ends in order" ends "$run_pid" 30 0
check "nothing is left" nothing_left
done_testing
