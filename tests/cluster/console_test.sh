#!/usr/bin/env bash
# dvm-ctl console on a terminal, and --serial file: and unix:.
# shellcheck disable=SC2016,SC2317 # the guest's script; functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

script='stty -echo; echo READY; while read -r line; do case $line in flood) seq 1 1500; echo FLOODED;;
  off) poweroff -f;; *) echo "got:$line";; esac; done'
start served "$script" --cpus 1 --memory 256M --serial "unix:$dir/serial"
served_pid=$run_pid

# Attaches, types, asks for help, says the window's size, leaves.
cat > "$dir/drive.py" << 'PY'
import os, termios
from terminal import Terminal
t = Terminal("served", 33, 111)
t.until(b"Ctrl-A x leaves it")
t.until(b"READY", 60)
t.type(b"one\r"); t.until(b"got:one")
t.type(b"\x01h"); t.until(b"leave the console; the guest goes on")
t.type(b"\x01w"); t.until(b"got:stty rows 33 cols 111")
t.type(b"\x01x"); t.until(b"console left")
_, status = os.waitpid(t.pid, 0)
t.check(status == 0, "left with exit code 0")
t.check(termios.tcgetattr(t.tty)[3] & termios.ICANON, "as it was before")
PY
PYTHONPATH=tests/cluster timeout 120 python3 -B "$dir/drive.py" | tee "$dir/drive.out"
check "the terminal's checks" [ "$(grep -c '^ok ' "$dir/drive.out") $(grep -c FAIL "$dir/drive.out")" = "8 0" ]

# The socket: a client that comes late has all from the first byte, one that comes back goes on.
client() { timeout 90 python3 tests/cluster/socket_client.py "$dir/serial" "$@"; }
client $'two\n' got:two > "$dir/first"
check "socket: from the first byte" grep -q READY "$dir/first"
check "socket: types" grep -q got:two "$dir/first"
client $'three\n' got:three > "$dir/second"
check "socket: goes on where the one before it ended" [ "$(grep -c got: "$dir/second")" = 1 ]
check "socket: in use" grep -q 'in use' <(build/bin/dvm-run --kernel "$cache/kernels/cloud/vmlinuz" \
  --serial "unix:$dir/serial" 2>&1)
client $'flood\n' FLOODED 2 > "$dir/flood" # and does not read for a while
check "socket: all that was printed meanwhile" [ "$(grep -cE '^[0-9]+.?$' "$dir/flood")" = 1500 ]
client $'off\n' Power > /dev/null
check "powers off" ends "$served_pid" 20 0
check "the socket is gone" [ ! -e "$dir/serial" ]

start filed 'echo READY; poweroff -f' --serial "file:$dir/console.log" < /dev/null
check "file: ends" ends "$run_pid" 60 0
check "file: has the output" grep -q READY "$dir/console.log"
check "file: stdout has none" [ ! -s "$dir/filed.out" ]
check "file: not writable: 64" [ "$(build/bin/dvm-run --kernel "$cache/kernels/cloud/vmlinuz" \
  --serial "file:$dir" 2>&1 | wc -l)" = 1 ]
check "nothing is left" nothing_left
done_testing
