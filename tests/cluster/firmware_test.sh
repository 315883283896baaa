#!/usr/bin/env bash
# SeaBIOS as the guest's firmware: on one node, and over two with its CPUs on both.
. "$(dirname "$0")/lib.sh"
bios=/usr/share/seabios/bios-256k.bin

# firmware NAME OPTION…: dvm-run with firmware, in the background.
firmware() {
  local name=$1
  shift
  build/bin/dvm-run --name "$name" --firmware "$bios" "$@" < /dev/null \
    > "$dir/$name.out" 2> "$dir/$name.err" &
  run_pid=$!
  started+=("$run_pid")
}
banners() { grep -ac 'SeaBIOS (version' "$dir/$1.out"; }
exits() { ctl "$1" --json status | grep -o '"total":[0-9]*' | head -n 1 | cut -d: -f2; }

firmware one
check "says that there is nothing to boot" wait_for one 'No bootable device' 30
one_exits=$(exits one)
check "in few exits ($one_exits)" [ "${one_exits:-9999}" -lt 2500 ]
check "stop" ctl one stop
check "ends with 0" ends "$run_pid" 10 0

firmware two --nodes 2 --cpus 4 --firmware-log "$dir/two.log"
check "says so over two nodes, too" wait_for two 'No bootable device' 30
check "finds the CPUs of both nodes" grep -q 'Found 4 cpu(s)' "$dir/two.log"
check "takes our ACPI tables" grep -q 'ACPI: parse DSDT' "$dir/two.log"
check "takes our SMBIOS tables" grep -q 'Copying SMBIOS' "$dir/two.log"
check "takes our memory map" grep -q 'qemu/e820: addr' "$dir/two.log"
check "assigns the PCI resources" grep -q 'PCI: map device bdf=00:01.0' "$dir/two.log"
check "reset" ctl two reset
for ((i = 0; i < 300; ++i)); do [ "$(banners two)" = 2 ] && break; sleep 0.1; done
check "a reset starts it again" [ "$(banners two)" = 2 ]
for ((i = 0; i < 300; ++i)); do [ "$(grep -c 'Found 4 cpu(s)' "$dir/two.log")" = 2 ] && break; sleep 0.1; done
check "with all its CPUs" [ "$(grep -c 'Found 4 cpu(s)' "$dir/two.log")" = 2 ]
check "stop" ctl two stop
check "ends with 0" ends "$run_pid" 10 0

# refused REGEX OPTION…: one line that matches, exit code 64.
refused() {
  local said code=0
  said=$(build/bin/dvm-run "${@:2}" 2>&1 < /dev/null) || code=$?
  [ "$code" = 64 ] && [ "$(wc -l <<< "$said")" = 1 ] && grep -qE "$1" <<< "$said" && return 0
  echo "      code $code: $said"
  return 1
}
head -c 100000 "$bios" > "$dir/odd.bin"
truncate -s 2M "$dir/large.bin"
truncate -s 0 "$dir/empty.bin"
check "a file that is not there" refused 'No such file' --firmware "$dir/absent.bin"
check "a size that is no firmware's" refused 'multiple of 64 KiB' --firmware "$dir/odd.bin"
check "one too large" refused 'up to 1 MiB' --firmware "$dir/large.bin"
check "an empty one" refused 'empty' --firmware "$dir/empty.bin"
check "both firmware and kernel" refused 'one of them' --firmware "$bios" --kernel "$bios"
check "an initrd without a kernel" refused 'without --kernel' --firmware "$bios" --initrd "$bios"
check "nothing to boot" refused 'nothing to boot' --nodes 2
check "nothing is left" nothing_left
done_testing
