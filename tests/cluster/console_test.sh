#!/usr/bin/env bash
# dvm-ctl console on a terminal, and --serial file: and unix:.
# shellcheck disable=SC2016,SC2317 # the guest's script; functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

script='stty -echo; echo READY; while read -r line; do case $line in flood) seq 1 1500; echo FLOODED;;
  off) poweroff -f;; *) echo "got:$line";; esac; done'
start served "$script" --cpus 1 --memory 256M --serial "unix:$dir/serial"
served_pid=$run_pid

# Drives a pseudo-terminal: attaches, types, asks for help, says the window's size, leaves.
cat > "$dir/drive.py" << 'PY'
import fcntl, os, pty, select, struct, sys, termios, time
pid, tty = pty.fork()
if pid == 0:
    os.execv("build/bin/dvm-ctl", ["dvm-ctl", "--name", "served", "console"])
fcntl.ioctl(tty, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
seen = b""
def until(text, seconds=30):
    global seen
    end = time.time() + seconds
    while text not in seen and time.time() < end:
        if select.select([tty], [], [], 0.2)[0]:
            try: seen += os.read(tty, 4096)
            except OSError: break
    print("ok   " if text in seen else "FAIL ", "terminal:", text.decode(), flush=True)
    if text not in seen: print(seen[-500:])
    seen = seen.split(text)[-1]
until(b"Ctrl-A x leaves it")
until(b"READY", 60)
os.write(tty, b"one\r"); until(b"got:one")
os.write(tty, b"\x01h"); until(b"leave the console; the guest goes on")
os.write(tty, b"\x01w"); until(b"got:stty rows 33 cols 111")
os.write(tty, b"\x01x"); until(b"console left")
_, status = os.waitpid(pid, 0)
print("ok   " if status == 0 else "FAIL ", "terminal: left with exit code", os.waitstatus_to_exitcode(status))
mode = termios.tcgetattr(tty)
print("ok   " if mode[3] & termios.ICANON else "FAIL ", "terminal: as it was before")
PY
timeout 120 python3 "$dir/drive.py" | tee "$dir/drive.out"
check "the terminal's checks" [ "$(grep -c '^ok ' "$dir/drive.out") $(grep -c FAIL "$dir/drive.out")" = "8 0" ]

# The socket: a client that comes late has all from the first byte, one that comes back goes on.
cat > "$dir/client.py" << 'PY'
import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.settimeout(60); s.connect(sys.argv[1])
s.sendall(sys.argv[2].encode())
if len(sys.argv) > 4: time.sleep(float(sys.argv[4]))  # does not read
got = b""
while sys.argv[3].encode() not in got:
    part = s.recv(65536)
    if not part: break
    got += part
sys.stdout.buffer.write(got)
PY
client() { timeout 90 python3 "$dir/client.py" "$dir/serial" "$@"; }
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
