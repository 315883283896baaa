#!/usr/bin/env bash
# dvm-ctl dump: an ELF core that readelf and gdb read, of a guest that goes on afterwards.
# shellcheck disable=SC2016,SC2317 # what others expand; functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

core=$dir/guest.core
start dumped 'echo READY; while read -r line; do echo "got:$line"; done; sleep 600' --nodes 2 --cpus 2 --memory 256M
check "boots" wait_for dumped READY 60
check "dump" ctl dumped dump "$core"
check "the guest goes on" grep -q '^dumped: running' <(ctl dumped status)
echo after >&"$console_in"
check "and answers" wait_for dumped got:after 20
readelf -W -l -n "$core" > "$dir/readelf" 2> "$dir/readelf.err"
check "readelf: a core" grep -q 'Elf file type is CORE' "$dir/readelf"
check "readelf: registers of both vCPUs" [ "$(grep -c NT_PRSTATUS "$dir/readelf")" = 2 ]
check "readelf: a QEMU note each" [ "$(grep -cE '^ +QEMU ' "$dir/readelf")" = 2 ]
check "readelf: all of RAM" grep -qE 'LOAD .* 0x0*10000000 0x0*10000000' "$dir/readelf"
check "readelf: no complaints" [ ! -s "$dir/readelf.err" ]
check "pages of zeros are holes" [ $(($(stat -c '%b * %B' "$core"))) -lt "$(stat -c %s "$core")" ]
check "the kernel is in it" grep -qaF 'Linux version 6' "$core"
if command -v gdb > /dev/null; then
  gdb -batch -nx -ex 'info threads' -ex 'print $cs' -ex 'print/x $rip' -c "$core" > "$dir/gdb" 2>&1
  check "gdb: two threads" [ "$(grep -cE '^[* ] +[12] ' "$dir/gdb")" = 2 ]
  check "gdb: in the kernel" grep -qE '= 0xffffffff' "$dir/gdb"
fi
check "paused before, paused after: pause" ctl dumped pause
check "paused before, paused after: dump" ctl dumped dump "$core"
check "paused before, paused after" grep -q '^dumped: paused' <(ctl dumped status)
refused() { ! ctl dumped dump "$@" > "$dir/refused" 2>&1 && [ "$(wc -l < "$dir/refused")" = 1 ]; }
check "no such folder" refused "$dir/none/core"
mkdir "$dir/small" && mount -t tmpfs -o size=4m none "$dir/small"
check "a full disk is an error" refused "$dir/small/core"
check "that says so" grep -q 'No space' "$dir/refused"
check "and leaves nothing" [ -z "$(ls "$dir/small")" ]
umount "$dir/small"
check "stop" ctl dumped stop
check "ends" ends "$run_pid" 10 0
check "nothing is left" nothing_left
done_testing
