#!/usr/bin/env bash
# --gdb: Debian's gdb on a stock kernel whose vCPUs are on two nodes.
# shellcheck disable=SC2016,SC2317 # the guest's script; functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

# A system call of vCPU 1's (node 1), over and over.
script='symbol() { grep -m1 " [TtDdBb] $1\$" /proc/kallsyms | cut -d" " -f1; }
echo "CALL $(symbol __x64_sys_newuname)"
echo "BANNER $(symbol linux_banner || true) $(grep -m1 " [RrDd] linux_banner$" /proc/kallsyms | cut -d" " -f1)"
echo "JIFFIES $(grep -m1 " [DdBbRrAa] jiffies$" /proc/kallsyms | cut -d" " -f1)"
taskset 2 sh -c "while :; do uname > /dev/null; usleep 50000; done" &
i=0; while :; do i=$((i + 1)); echo "TICK $i"; sleep 1; done'
start debugged "$script" --nodes 2 --cpus 2 --memory 256M --gdb "unix:$dir/gdb.sock"
check "boots" wait_for debugged "TICK 1" 60
address() { grep -oE "^$1 +[0-9a-f]+" "$dir/debugged.out" | grep -oE '[0-9a-f]{16}$'; }
call=$(address CALL) banner=$(address BANNER) jiffies=$(address JIFFIES)
check "addresses: $call $banner $jiffies" [ -n "$call" ] && [ -n "$banner" ] && [ -n "$jiffies" ]

debug() { timeout 100 gdb -batch -nx -ex 'set architecture i386:x86-64' -ex 'set pagination off' \
  -ex "target remote $dir/gdb.sock" "$@" > "$dir/gdb.out" 2>&1; }
ticks() { count debugged '^TICK '; }

# An emulated CPU does not arm the debug registers that a nested guest is entered with.
hardware=()
if [ -z "${DVM_IN_LAB:-}" ]; then
  hardware=(-ex "hbreak *0x$call" -ex 'continue' -ex 'delete'
    -ex "watch *(unsigned long *)0x$jiffies" -ex 'continue' -ex 'delete')
fi
debug -ex 'info threads' -ex 'thread 2' -ex 'info registers rip cr3 efer' -ex "x/s 0x$banner" \
  -ex "break *0x$call" -ex 'continue' -ex 'print $rip' -ex 'print $_thread' \
  -ex 'delete' -ex 'set $before = $rip' -ex 'stepi' -ex 'stepi' -ex 'print $rip != $before && $rip - $before < 64' \
  "${hardware[@]}" \
  -ex 'set $saved = $rax' -ex 'set $rax = 0x1234' -ex 'print/x $rax' -ex 'set $rax = $saved' \
  -ex 'print $xmm0' -ex 'print $mxcsr' -ex 'detach'
has() { grep -qE "$1" "$dir/gdb.out"; }
check "a thread for each vCPU, with its node" has '2 +Thread 2 \(vCPU 1 on node 1, '
check "control registers" has '^cr3 +0x'
check "memory by its virtual address" has '"Linux version 6'
check "a software breakpoint is met" has 'Breakpoint 1, 0x0*'"$call"
check "by the vCPU of the other node" has '^\$[0-9]+ = 2$'
check "steps" has '^\$3 = 1$'
if [ -z "${DVM_IN_LAB:-}" ]; then
  check "a hardware breakpoint is met" has 'Breakpoint 2, 0x0*'"$call"
  check "a watchpoint is met" has 'Hardware watchpoint 3'
  check "which saw a change" has 'New value = '
fi
check "registers are written" has '= 0x1234$'
check "SSE registers" has 'v4_float = '
check "no complaint" [ "$(grep -v 'No executable\|determining exec' "$dir/gdb.out" | grep -ciE 'warning|error|cannot|remote failure')" = 0 ]
[ "$failures" = 0 ] || sed 's/^/      | /' "$dir/gdb.out"
before=$(ticks)
sleep 3
check "the guest goes on when gdb has left" [ "$(ticks)" -gt "$before" ]

# Killed in the middle of it, with a breakpoint in place that is met again and again.
debug -ex "break *0x$call" -ex 'continue' -ex 'continue 1000000' &
killed() {
  local i
  for ((i = 0; i < 150; ++i)); do
    if grep -q 'Breakpoint 1, ' "$dir/gdb.out"; then sleep 1; kill -9 "$(pgrep -x gdb)"; return; fi
    sleep 0.2
  done
  false
}
check "gdb is killed while it watches" killed
wait $!
for ((i = 0; i < 40; ++i)); do
  [ "$(ctl debugged --json status | grep -cE '"state": ?"running"')" = 1 ] && break
  sleep 0.25
done
before=$(ticks)
sleep 3
check "and when gdb is killed" [ "$(ticks)" -gt "$before" ]
check "the kernel is whole" [ "$(count debugged 'BUG|Oops|int3|general protection')" = 0 ]
check "stop" ctl debugged stop
check "ends" ends "$run_pid" 10 0
check "the socket is gone" [ ! -e "$dir/gdb.sock" ]
check "not a place to listen: one line" [ "$(build/bin/dvm-run --kernel "$cache/kernels/cloud/vmlinuz" \
  --gdb unix:/none/gdb < /dev/null 2>&1 | wc -l)" = 1 ]
check "nothing is left" nothing_left
done_testing
