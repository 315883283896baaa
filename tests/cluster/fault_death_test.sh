#!/usr/bin/env bash
# dvm-fault: each way for a node to die or to be taken for dead ends the guest, and is an event.
# shellcheck disable=SC2317 # functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cluster/fault_lib.sh
. tests/cluster/fault_lib.sh

# ends_by WORD…: dvm-fault WORD… ends the guest.
ends_by() { # NAME WORD…
  inject "$@" && ends "$run_pid" 10 1 && told "$1" fault_injected "\"fault\":\"$2\""
}
check "boots" begin hung
check "a hang longer than the deadline is a death" ends_by hung hang 1
check "it was powered off" grep -q 'node 1 (pid .*) hung: it was powered off' "$dir/hung.err"
check "boots" begin late
check "a node too slow for the deadline is dead" ends_by late slow 0 --share 1 --period 5000
check "boots" begin power
check "power-fail" ends_by power power-fail 0
check "boots" begin host
check "kill-host" ends_by host kill-host 0
check "boots" begin lines
check "lost-lines" ends_by lines lost-lines 1
check "nothing is left" nothing_left
done_testing
