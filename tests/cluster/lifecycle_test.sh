#!/usr/bin/env bash
# Reboot, power-off, panic, signals, and control while the guest runs.
. "$(dirname "$0")/lib.sh"

# init runs again at each boot; a file does not survive one, so the guest counts by its console.
start reboot 'read -r go; [ "$go" = again ] && reboot -f; poweroff -f' --nodes 2 --cpus 2
check "boots" wait_for reboot DVM-USERSPACE 60
echo again >&"$console_in"
for ((i = 0; i < 300; ++i)); do [ "$(count reboot DVM-USERSPACE)" = 2 ] && break; sleep 0.1; done
check "reboot brings it up again" [ "$(count reboot DVM-USERSPACE)" = 2 ]
check "status says boot 2" [ "$(ctl reboot --json status | grep -o '"boots":2')" = '"boots":2' ]
echo off >&"$console_in"
check "power-off ends dvm-run with 0" ends "$run_pid" 30 0

panic='echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger'
append=panic=-1 start panic-exit "$panic" --on-panic exit
check "a panic with --on-panic exit ends it with 3" ends "$run_pid" 60 3
append=panic=-1 start panic-reboot "$panic" --on-panic reboot
for ((i = 0; i < 600; ++i)); do [ "$(count panic-reboot DVM-USERSPACE)" -ge 2 ] && break; sleep 0.1; done
check "a panic with --on-panic reboot brings it up again" [ "$(count panic-reboot DVM-USERSPACE)" -ge 2 ]
kill "$run_pid"
sleep 0.2
kill "$run_pid"
check "two SIGTERMs end it" ends "$run_pid" 10 0

# A watchdog that is pinged does nothing; one whose daemon has died resets the guest.
start hung 'for m in watchdog wdat_wdt; do insmod /modules/$m.ko; done; watchdog -T 8 -t 1 /dev/watchdog; sleep 12
echo PINGED; killall -9 watchdog; sleep 100' --watchdog on --nodes 2 --cpus 2 --placement 0,1
check "a guest that pings its watchdog goes on" wait_for hung PINGED 90
check "and has booted once" [ "$(count hung DVM-USERSPACE)" = 1 ]
for ((i = 0; i < 600; ++i)); do [ "$(count hung DVM-USERSPACE)" = 2 ] && break; sleep 0.1; done
check "one that does not is reset" [ "$(count hung DVM-USERSPACE)" = 2 ]
check "and why is told" grep -q 'did not ping its watchdog' "$dir/hung.err"
kill "$run_pid"
sleep 0.2
kill "$run_pid"
check "it ends" ends "$run_pid" 10 0

# The power button: a reader of the button's events, as acpid is.
start button 'for e in /dev/input/event*; do (read -rn1 x < $e; poweroff -f) & done; echo READY; sleep 100'
check "boots" wait_for button READY 60
kill "$run_pid"
check "SIGTERM presses the power button, the guest shuts down" ends "$run_pid" 30 0

start control 'i=0; while :; do i=$((i+1)); echo "TICK $i"; sleep 0.2; done' --nodes 2 --cpus 2 --events "$dir/events"
check "boots" wait_for control "TICK 3" 60
check "pause" ctl control pause
before=$(count control TICK)
sleep 1
check "a paused guest stands still" [ "$(count control TICK)" -le $((before + 1)) ]
check "status says paused" [ "$(ctl control --json status | grep -o '"state":"paused"')" = '"state":"paused"' ]
check "resume" ctl control resume
check "a resumed guest goes on" wait_for control "TICK $((before + 4))" 10
check "metrics" grep -q '^dvm_vcpu_exits_total' <(ctl control metrics)
check "events" grep -q resumed <(ctl control events)
check "reset" ctl control reset
for ((i = 0; i < 300; ++i)); do [ "$(count control DVM-USERSPACE)" = 2 ] && break; sleep 0.1; done
check "a reset guest boots again" [ "$(count control DVM-USERSPACE)" = 2 ]
check "stop" ctl control stop
check "a stopped guest ends with 0" ends "$run_pid" 10 0
check "the events file is JSON lines" grep -q '"event":"guest_reset"' "$dir/events"

start quit 'sleep 100'
check "boots" wait_for quit DVM-USERSPACE 60
check "shutdown is accepted" ctl quit shutdown
kill "$run_pid"; sleep 0.1; kill "$run_pid"
check "ends" ends "$run_pid" 10 0
check "nothing is left" nothing_left
done_testing
