#!/usr/bin/env bash
# --balloon: memory that the guest frees, or is asked for, leaves the pool and comes back when it is used.
# shellcheck disable=SC2016,SC2317 # the guest's script; functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

# Fills memory from both nodes, checks that what is kept stays as it was.
script='insmod /modules/virtio_balloon.ko
head -c 30000000 /dev/urandom > /keep; sum=$(md5sum < /keep); echo READY
while read -r line; do case $line in
  fill) taskset 1 dd if=/dev/zero of=/a bs=1M count=130 2>/dev/null; taskset 2 dd if=/dev/zero of=/b bs=1M count=130 2>/dev/null
    echo FILLED;;
  free) rm -f /a /b; echo FREED;;
  kept) now=$(md5sum < /keep); [ "$now" = "$sum" ] && echo KEPT $((++kept)) || echo CHANGED "$now";;
  off) poweroff -f;;
esac; done'
start balloon "$script" --nodes 2 --cpus 2 --memory 512M --balloon
say() { echo "$1" >&"$console_in"; }
# of NAME BEGIN: the first number NAME after BEGIN in the status, in MiB
of() { ctl balloon --json status | sed 's/.*"'"$2"'"://' | grep -oE "\"$1\":[0-9]+" | head -n 1 | cut -d: -f2; }
mib() { echo $(($(of "$@") / 1048576)); }
backed() { mib backed pool; }
# until_so TITLE SECONDS -lt|-gt|-eq MIB WORD…: what WORD… prints is less, more or equal. Looked at once more when the
# time is over: on a busy machine a look takes longer than the pause.
until_so() {
  local title=$1 until=$((SECONDS + $2)) how=$3 than=$4 now over=0
  shift 4
  while [ "$over" = 0 ]; do
    [ "$SECONDS" -lt "$until" ] || over=1
    now=$("$@")
    [ "$now" "$how" "$than" ] && { ok "$title"; return; }
    sleep 0.3
  done
  fail "$title: $now (MiB), and should be $how $than"
  ctl balloon status | tail -n 14 | sed 's/^/      | /'
}
check "boots" wait_for balloon READY 60
say fill
check "fills its memory" wait_for balloon FILLED 60
full=$(backed)
check "the pool is backed: $full MiB" [ "$full" -gt 290 ]
say free
check "frees it" wait_for balloon FREED 20
until_so "what is reported as free leaves the pool" 90 -lt $((full - 150)) backed
say kept
check "what is kept is as it was" wait_for balloon 'KEPT 1' 20
quiet() { "$@" > /dev/null; }
check "dvm-ctl balloon" quiet ctl balloon balloon 200M
until_so "the guest gives up what it is asked for" 120 -eq 200 mib actual balloon
until_so "and the pool gets it back" 30 -ge 200 mib given_back balloon
check "its figures are told" grep -qE '^  free_memory +[1-9]' <(ctl balloon balloon)
check "and are metrics" grep -qE '^dvm_guest_memory_stat\{.*stat="total_memory"\} [1-9]' <(ctl balloon metrics)
check "empty again" quiet ctl balloon balloon 0
until_so "the guest has taken it all back" 120 -eq 0 mib actual balloon
say fill
until_so "and uses it" 120 -gt $((full - 40)) backed
say kept
kept_twice() { wait_for balloon 'KEPT 2|CHANGED' 60 && ! grep CHANGED "$dir/balloon.out"; }
check "what is kept is still as it was" kept_twice
refused() { ! ctl balloon balloon "$1" > "$dir/o" 2>&1 && [ "$(wc -l < "$dir/o")" = 1 ]; }
check "more than there is" refused 500M
check "no whole pages" refused 1000
say off
check "powers off" ends "$run_pid" 20 0
check "nothing is left" nothing_left
done_testing
