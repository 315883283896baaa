#!/usr/bin/env bash
# Bad input: one clear line on stderr, the right exit code, nothing left behind.
. "$(dirname "$0")/lib.sh"

good_kernel=$cache/kernels/cloud/vmlinuz
good_initrd=$cache/initramfs-cloud.cpio

# refused CODE REGEX WORD…: dvm-run WORD… ends with CODE and one line that matches.
refused() {
  local code=$1 pattern=$2 actual=0
  shift 2
  timeout 20 build/bin/dvm-run "$@" < /dev/null > "$dir/out" 2> "$dir/err" || actual=$?
  if [ "$actual" = "$code" ] && [ "$(wc -l < "$dir/err")" = 1 ] && grep -qE "$pattern" "$dir/err" && [ ! -s "$dir/out" ]; then
    ok "$(cat "$dir/err")"
  else
    fail "exit code $actual (expected $code): dvm-run $*"
    sed 's/^/      | /' "$dir/err"
  fi
}
with() { refused "$1" "$2" --kernel "$good_kernel" --initrd "$good_initrd" "${@:3}"; }
config() { echo "$3" > "$dir/config.json"; refused "$1" "$2" --config "$dir/config.json" --kernel "$good_kernel"; }

head -c 100000 /dev/urandom > "$dir/rubbish"
head -c 100000 "$good_kernel" > "$dir/truncated"
refused 64 'not a Linux' --kernel "$dir/rubbish"
refused 64 'truncated' --kernel "$dir/truncated"
refused 64 'No such file' --kernel "$dir/absent"
refused 64 'kernel' --nodes 2
truncate -s 600M "$dir/large"
refused 64 'initrd' --kernel "$good_kernel" --initrd "$dir/large" --memory 512M
with 64 'cpus' --cpus 0
with 64 'cpus' --cpus 65
with 64 'nodes' --nodes 0
with 64 'nodes' --nodes 17
with 64 'placement' --cpus 4 --placement 0,0,0
with 64 'placement' --cpus 2 --nodes 2 --placement 0,2
with 64 'placement' --cpus 2 --nodes 2 --placement 0,x
with 64 'memory' --memory 32M
with 64 'memory' --memory 2T
with 64 'coherence' --coherence none
with 64 'policy' --policy best
with 64 'local-memory' --local-memory 64M
with 64 'nodes' --coherence software --nodes 16 --net user
case $(uname -r) in
  6.[0-3].* | [0-5].*) with 1 'needs Linux 6.4 or newer' --coherence software ;;
esac
with 64 'memory' --memory 99999999999999999999G
with 64 'memory' --memory 512Q
with 64 'pool' --memory 900G --pool "$dir/pool"
with 64 'pool' --pool /proc/pool
with 64 'pool' --pool "$dir/no/such/folder/pool"
with 64 'name' --name 'a/b'
with 64 'on-panic' --on-panic explode
with 64 'console: found .vga.; allowed: off, virtio' --console vga
with 64 'gdb: found .tcp:1234.; allowed: unix:PATH or tcp:HOST:PORT' --gdb tcp:1234
with 64 'hang-after: found 5; allowed: 100 to 600000' --hang-after 5
config 64 'balloon' '{"balloon": "big"}'
with 64 'protect: found .epoch:4.; allowed: none, flush, epoch, or epoch:MS of 5 to 10000 ms' --protect epoch:4
with 64 'protect: found .epochs.' --protect epochs
with 64 'protect: epochs need a pool that is coherent' --protect epoch --coherence software
config 64 'colour' '{"colour": "red"}'
config 64 'cpus' '{"cpus": "four"}'
config 64 'cpus' '{"cpus": 1.5}'
config 64 'placement' '{"placement": {"0": 1}}'
config 64 'JSON|json' '{"cpus": '
config 64 'object' '[1]'

# A pool that is not one, damaged, or in use.
cp "$dir/rubbish" "$dir/not-a-pool"
with 1 'not a dvm pool' --pool "$dir/not-a-pool"
check "a file that is no pool stays as it was" cmp -s "$dir/rubbish" "$dir/not-a-pool"
start in-use 'sleep 100' --pool "$dir/used"
check "boots" wait_for in-use DVM-USERSPACE 60
with 1 'in use by another guest' --pool "$dir/used"
with 1 'in-use' --name in-use
cp "$dir/used" "$dir/damaged"
printf '\xff' | dd of="$dir/damaged" bs=1 seek=9 conv=notrunc status=none
with 1 'layout version' --pool "$dir/damaged"
cp "$dir/used" "$dir/short"
truncate -s 3M "$dir/short"
with 1 'bytes expected' --pool "$dir/short"
kill "$run_pid"; sleep 0.1; kill "$run_pid"
check "ends" ends "$run_pid" 10 0

# A machine without KVM, and one whose KVM is no KVM.
without_kvm() {
  unshare -m bash -c "mount --bind $1 /dev/kvm && exec build/bin/dvm-run --kernel '$good_kernel'" < /dev/null > "$dir/out" 2> "$dir/err"
  [ $? = 1 ] && [ "$(wc -l < "$dir/err")" = 1 ] && grep -q '/dev/kvm: not usable' "$dir/err"
}
check "a /dev/kvm that is /dev/null: $(without_kvm /dev/null; cat "$dir/err")" without_kvm /dev/null
check "nothing is left" nothing_left
done_testing
