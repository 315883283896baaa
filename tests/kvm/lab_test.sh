#!/usr/bin/env bash
# Does tools/lab keep its contract? One line per check; exit code 1 when one fails. About 10 s.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
lab=$top/tools/lab
work=$(mktemp -d)
trap 'rm -rf "$work"; kill $(jobs -p) 2> /dev/null || true' EXIT
failed=0

check() { # NAME GOT WANTED
  if [ "$2" = "$3" ]; then
    echo "ok   $1"
  else
    echo "FAIL $1: got '$2', wanted '$3'"
    failed=1
  fi
}
sum() { sha256sum < "$1" | cut -c1-16; }
# Runs the lab with its streams in files, in the background; `code NAME` waits and tells its exit code.
declare -A running
begin() { # NAME ARGUMENT…
  local name=$1
  shift
  "$lab" run "$@" > "$work/$name.out" 2> "$work/$name.err" < "${input:-/dev/null}" &
  running[$name]=$!
}
code() {
  code=0
  wait "${running[$1]}" || code=$?
}

# Builds what the cache lacks, so that the times below are those of a lab.
"$lab" probe > /dev/null || true
"$lab" run -- true || { echo "FAIL the lab does not start"; exit 1; }
echo "ok   exit code 0"

# Everything about streams in one lab, and a signal's code in another beside it.
head -c 1048576 /dev/urandom > "$work/input"
mkdir "$work/shared"
head -c 1048576 /dev/urandom > "$work/shared/other"
cat > "$work/streams.sh" <<'INSIDE'
cat <&0 &                # stdin to stdout and a file to stderr, at once
cat "$1/other" >&2
wait
printf '%s' "$2" > "$1/argument"
"$3/tools/lab" probe > "$1/probe" 2>&1
"$3/tools/lab" run -- sh -c 'exit 9' || echo $? > "$1/inner"
exit 7
INSIDE
argument=$'two  words, "quotes" \'and\' a\nnew line $HOME'
cp "$work/streams.sh" "$work/shared/"
input=$work/input begin streams --out "$work/shared" -- \
  bash "$work/shared/streams.sh" "$work/shared" "$argument" "$top"
# shellcheck disable=SC2016
begin signal -- sh -c 'kill -KILL $$'
code streams
check "exit code 7" "$code" 7
check "1 MiB from stdin to stdout, byte for byte" "$(sum "$work/streams.out")" "$(sum "$work/input")"
check "1 MiB to stderr, separately" "$(sum "$work/streams.err")" "$(sum "$work/shared/other")"
check "an argument arrives as it is" "$(cat "$work/shared/argument" 2>/dev/null)" "$argument"
check "KVM is usable inside, and --out brings results out" "$(cat "$work/shared/probe" 2>/dev/null)" "kvm: usable"
check "a lab in the lab runs natively" "$(cat "$work/shared/inner" 2>/dev/null)" 9
code signal
check "killed by a signal" "$code" 137

# A disk in one: readable, writable, and as it was when the lab has ended.
head -c 2097152 "$work/input" > "$work/disk"
truncate -s 3M "$work/disk"
before=$(sum "$work/disk")
in_disk=$(cat <<'INSIDE'
sha256sum < "$DVM_LAB_DISK" | cut -c1-16
head -c 4096 /dev/zero | tr '\0' x | dd of="$DVM_LAB_DISK" bs=4096 seek=700 conv=notrunc,fsync status=none
dd if="$DVM_LAB_DISK" bs=4096 skip=700 count=1 status=none | tr -d x | wc -c
INSIDE
)
begin disk --disk "$work/disk" -- bash -c "$in_disk"
code disk
check "a disk's contents, and what is written to it" "$(tr '\n' ' ' < "$work/disk.out")" "$before 0 "
check "a disk's image stays as it was" "$(sum "$work/disk")" "$before"
# A cache where the lab has a file system of its own.
cache=${DVM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dvm}
mkdir "$work/cache"
cp -al "$cache/lab" "$cache/kernels" "$work/cache" 2> /dev/null || cp -r "$cache/lab" "$cache/kernels" "$work/cache"
DVM_CACHE=$work/cache begin cache -- test -d "$work/cache/kernels"
code cache
check "a cache in /tmp is there, too" "$code" 0
begin nodisk --disk "$work/none" -- true
code nodisk
check "no such disk" "$code" 64
check "no such disk is said" "$(grep -c -- '--disk .*none: not a file' "$work/nodisk.err")" 1

# The time limit in one, Ctrl-C in another.
begin limit --timeout 2 -- sh -c 'echo started; exec sleep 1000'
begin interrupt -- sh -c 'echo started; exec sleep 1000'
for _ in {1..300}; do
  [ -s "$work/interrupt.out" ] && break
  sleep 0.1
done
child=$(ps -o pid= --ppid "${running[interrupt]}" | tr -d ' ')
kill -INT "${running[interrupt]}"
code interrupt
check "Ctrl-C ends it" "$code" 130
sleep 0.2
check "Ctrl-C leaves no process behind" "$(ps -o pid= -p "${child:-0}" | tr -d ' ')" ""
for _ in {1..300}; do
  [ -s "$work/limit.out" ] && break
  sleep 0.1
done
began=$SECONDS
code limit
check "the time limit's exit code" "$code" 124
check "the time limit is kept" "$((SECONDS - began <= 5))" 1
check "the time limit is said" "$(grep -c 'time limit' "$work/limit.err")" 1

# A guest in a lab whose CPU is asked to leave its loop fifty times a second takes each interrupt once. With the
# emulator as it is installed none gets to user space.
if ! "$lab" probe > /dev/null; then
  python3 "$top/tests/kvm/stop_often.py" "$work/qmp" 0.02 &
  kernel=$cache/kernels/cloud/vmlinuz initramfs=$cache/initramfs-cloud.cpio
  DVM_LAB_QMP=$work/qmp begin often --timeout 100 -- "$top/build/bin/dvm-run" --kernel "$kernel" --initrd "$initramfs" \
    --append "console=ttyS0 quiet dvm.script64=$(base64 -w0 <<< 'sleep 3')" --nodes 2 --cpus 2 --memory 128M
  code often
  check "interrupts are delivered once" "$code $(grep -c DVM-USERSPACE "$work/often.out")" "0 1"
fi

# A lab that dies is not the command's failure. Only where there is one: not on this machine itself.
if ! "$lab" probe > /dev/null; then
  begin panic -- sh -c 'echo c > /proc/sysrq-trigger'
  DVM_LAB_START_LIMIT=0 begin late -- true
  code panic
  check "a panic is the lab's failure" "$code" 125
  check "a panic shows the console" "$(grep -c 'Kernel panic' "$work/panic.err")" 1
  code late
  check "a lab that is not ready in time" "$code" 125
  check "is tried twice" "$(grep -c 'before the command started' "$work/late.err")" 2
fi
exit "$failed"
