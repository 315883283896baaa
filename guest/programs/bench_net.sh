#!/bin/sh
# The network benchmark's part inside: runs its jobs against iperf3's server on the host, one after the other.
# From the kernel's command line: dvm.jobs=tcp-out,udp-in,…, dvm.seconds=S for each, dvm.address=THIS/BITS,
# dvm.host=ADDRESS, dvm.port=PORT. Prints for each "BENCH result JOB RATE PACKETS", where PACKETS have passed this
# machine's card in both directions.
word() { tr ' ' '\n' < /proc/cmdline | sed -n "s/^$1=//p"; }
host=$(word dvm.host) port=$(word dvm.port) seconds=$(word dvm.seconds)
ip link set lo up
ip addr add "$(word dvm.address)" dev eth0
ip link set eth0 up
iperf3 --version > /dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do
  ping -c 1 -W 1 "$host" > /dev/null && break
done

packets() {
  statistics=/sys/class/net/eth0/statistics
  echo $(($(cat $statistics/tx_packets) + $(cat $statistics/rx_packets)))
}
# Of iperf3's JSON: the value of $2 in the last object named $1.
value() { awk -v object="\"$1\":" -v key="\"$2\":" '$1 == object { inside = 1 } inside && $1 == key { sub(/,$/, "", $2); found = $2; inside = 0 } END { print found + 0 }' /out; }
stream() { iperf3 -c "$host" -p "$port" -t "$seconds" -J "$@" > /out; }

run() {
  case $1 in
    tcp-out) stream ;;
    tcp-in) stream -R ;;
    tcp-out-64) stream -N -l 64 ;;
    tcp-in-64) stream -R -N -l 64 ;;
    udp-out-64) stream -u -b 0 -l 64 ;;
    udp-in-64) stream -R -u -b 0 -l 64 ;;
    ping) ping -A -q -w "$seconds" "$host" > /out ;;
    *) return 1 ;;
  esac
}
rate() { # of the job that has run: Mbit/s received, or packets received a second
  case $1 in
    tcp-*) value sum_received bits_per_second | awk '{ print $1 / 1000000 }' ;;
    udp-*) echo "$(value sum packets) $(value sum lost_packets) $(value sum seconds)" | awk '{ rate = 0; if ($3 > 0) rate = ($1 - $2) / $3; print rate }' ;;
    ping) awk -v s="$seconds" '/packets received/ { print $4 / s }' /out ;;
  esac
}

for job in $(word dvm.jobs | tr ',' ' '); do
  before=$(packets)
  bench-mark begin "$job"
  if ! run "$job"; then
    echo "BENCH failed $job $(tr '\n' ' ' < /out | tail -c 200)"
    continue
  fi
  bench-mark end "$job"
  echo "BENCH result $job $(rate "$job") $(($(packets) - before))"
done
