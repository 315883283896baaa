#!/usr/bin/env bash
# --console virtio: hvc0 on a socket and on a terminal by dvm-ctl console, from vCPUs of both nodes.
# shellcheck disable=SC2016 # the guest's script
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

script='insmod /modules/virtio_console.ko; exec < /dev/hvc0 > /dev/hvc0 2>&1; stty -echo; echo READY
while read -r line; do case $line in
  size) echo "size:$(stty size)";;
  both) taskset 1 echo from-cpu0; taskset 2 echo from-cpu1;;
  flood) seq 1 3000; echo FLOODED;;
  off) poweroff -f;;
  *) echo "got:$line";; esac; done'
start hvc "$script" --nodes 2 --cpus 2 --memory 256M --console "virtio:unix:$dir/hvc"

cat > "$dir/drive.py" << 'PY'
import time
from terminal import Terminal
t = Terminal("hvc", 33, 111)
t.until(b"READY", 60)
t.type(b"one\r"); t.until(b"got:one")
t.type(b"size\r"); t.until(b"size:33 111")
t.resize(40, 99); time.sleep(1)
t.type(b"size\r"); t.until(b"size:40 99")
t.type(b"both\r"); t.until(b"from-cpu0"); t.until(b"from-cpu1")
t.type(b"\x01x"); t.until(b"console left")
PY
PYTHONPATH=tests/cluster timeout 120 python3 -B "$dir/drive.py" | tee "$dir/drive.out"
check "the terminal's checks" [ "$(grep -c '^ok ' "$dir/drive.out") $(grep -c FAIL "$dir/drive.out")" = "7 0" ]

client() { timeout 90 python3 tests/cluster/socket_client.py "$dir/hvc" "$@"; }
client $'two\n' got:two > "$dir/first"
check "socket: from the first byte" grep -q READY "$dir/first"
check "socket: types" grep -q got:two "$dir/first"
client $'flood\n' FLOODED > "$dir/flood"
check "socket: nothing of a flood is lost" [ "$(grep -cE '^[0-9]+.?$' "$dir/flood")" = 3000 ]
check "the serial port is another console" [ "$(grep -c READY "$dir/hvc.out")" = 0 ]
check "dvm-ctl console --port serial" grep -q DVM-USERSPACE \
  <(timeout 20 build/bin/dvm-ctl --name hvc console --port serial < <(sleep 2) &
    sleep 3; kill $!)
check "status counts it" grep -qE '^console0 +[1-9]' <(ctl hvc status)
client $'off\n' nothing > /dev/null
check "powers off" ends "$run_pid" 20 0

refused() { # TITLE WORD…
  local title=$1
  shift
  build/bin/dvm-run --kernel "$cache/kernels/cloud/vmlinuz" "$@" < /dev/null > "$dir/o" 2> "$dir/e"
  check "$title" [ "$? $(wc -l < "$dir/e")" = "64 1" ]
}
refused "no such console" --console vga
refused "two on stdio" --console virtio:stdio --serial stdio
check "nothing is left" nothing_left
done_testing
