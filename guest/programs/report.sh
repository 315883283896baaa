#!/bin/sh
# What this machine looks like from inside, on one screen. Needs only busybox, /proc and /sys.

first() { sed -n "s/^$1[[:space:]]*: *//p" /proc/cpuinfo | head -n 1; }
contents() { cat "$1" 2>/dev/null || echo none; }

hypervisor=no
grep -qw hypervisor /proc/cpuinfo && hypervisor=yes
echo "kernel       $(uname -r)"
echo "cpus         $(grep -c '^processor' /proc/cpuinfo) online ($(contents /sys/devices/system/cpu/online))"
echo "model        $(first 'model name'), $(first 'cpu MHz') MHz, hypervisor: $hypervisor"
echo "memory       $(awk '/^MemTotal/ {t=$2} /^MemAvailable/ {a=$2} END {printf "%d MiB, %d MiB available", t/1024, a/1024}' /proc/meminfo)"
echo "clocksource  $(contents /sys/devices/system/clocksource/clocksource0/current_clocksource)"
echo "hw_random    $(contents /sys/class/misc/hw_random/rng_current)"
echo "uptime       $(cut -d ' ' -f 1 /proc/uptime) s"

echo "interrupts   (per CPU)"
awk 'NR == 1 { cpus = NF; printf "  %-5s", ""; for (i = 1; i <= cpus; i++) printf " %10s", $i; print "" }
     $1 ~ /^(LOC|RES|CAL|TLB):$/ {
       printf "  %-5s", $1
       sum = 0
       for (i = 2; i <= cpus + 1; i++) { printf " %10s", $i; sum += $i }
       printf "   sum %d\n", sum
     }' /proc/interrupts

echo "pci devices"
for device in /sys/bus/pci/devices/*; do
  [ -e "$device/vendor" ] || continue
  vendor=$(cat "$device/vendor")
  id=$(cat "$device/device")
  driver=-
  [ -e "$device/driver" ] && driver=$(basename "$(readlink "$device/driver")")
  # A virtio device hangs below its PCI function, with a driver of its own.
  for virtio in "$device"/virtio[0-9]*; do
    [ -e "$virtio/driver" ] && driver="$driver/$(basename "$(readlink "$virtio/driver")")"
  done
  echo "  ${device##*/}  ${vendor#0x}:${id#0x}  class $(cut -c 3-6 "$device/class")  $driver"
done
