#!/usr/bin/env bash
# What dvm-ctl and the keys promise: valid JSON with the right values, commands refused in the wrong
# state, a reset of a paused guest, Ctrl-A on a terminal.
# shellcheck disable=SC2317 # functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

# json PATH: the value at PATH (as in nodes/1/pid) of the JSON on standard input, which has to be valid.
json() {
  perl -MJSON::PP -0777 -e '
    my $at = decode_json(<STDIN>);
    for (split m{/}, shift) { $at = ref $at eq "ARRAY" ? $at->[$_] : $at->{$_} }
    defined $at or exit 1;
    print ref $at ? encode_json($at) : $at' "$1" 2> /dev/null
}
status() { ctl control --json status | json "$1"; } # PATH
is() { # PATH WANTED
  local got
  got=$(status "$1")
  [ "$got" = "$2" ] || { echo "      $1 is '$got'"; return 1; }
}
refuses() { ! ctl "$@" > "$dir/refused" 2>&1 && [ "$(wc -l < "$dir/refused")" = 1 ]; }

start control 'echo READY; sleep 600' --nodes 2 --cpus 4 --memory 256M --placement 0,1,1,0 \
  --pool "$dir/pool" --events "$dir/events"
check "boots" wait_for control READY 60
check "status: state" is state running
check "status: boots" is boots 1
check "status: vCPUs of node 0" is nodes/0/vcpus '[0,3]'
check "status: node of vCPU 2" is vcpus/2/node 1
check "status: memory" is memory $((256 << 20))
check "status: the pool's path" is pool/path "$dir/pool"
check "status: node 1's process is there" kill -0 "$(status nodes/1/pid)"
check "status: vCPU 3 has exits" [ "$(status vcpus/3/exits/total)" -gt 0 ]
idles() {
  local i
  for ((i = 0; i < 100; ++i)); do
    [ "$(status vcpus/3/state)" = halted ] && [ "$(status vcpus/3/halts)" -gt 0 ] && return
    sleep 0.1
  done
  return 1
}
check "status: an idle vCPU is halted" idles
check "status as text" grep -q '^control: running' <(ctl control status)
check "list" grep -q '^control ' <(build/bin/dvm-ctl list)
check "list as JSON" [ "$(build/bin/dvm-ctl --json list | json guests/0/name)" = control ]
check "no --name with one guest" grep -q '^control: running' <(build/bin/dvm-ctl status)
check "metrics: a sample" grep -q '^dvm_node_up{guest="control",node="1"} 1' <(ctl control metrics)
check "metrics: every line is a comment or a sample" \
  [ "$(ctl control metrics | grep -cvE '^(# (HELP|TYPE) .*|[a-z_]+\{[^}]*\} [0-9]+)$')" = 0 ]
check "events as JSON" [ -n "$(ctl control --json events | json events/0/time_ns)" ]

check "resume is refused while it runs" refuses control resume
check "pause" ctl control pause
check "shutdown is refused while paused" refuses control shutdown
check "reset while paused" ctl control reset
second_boot() {
  local i
  for ((i = 0; i < 400; ++i)); do
    [ "$(count control READY)" -ge 2 ] && return
    sleep 0.1
  done
  return 1
}
check "brings it up again" second_boot
check "status: boot 2" is boots 2
check "another guest's name is refused" refuses nobody status
check "an unknown command is refused" refuses control explode
check "stop" ctl control stop
check "ends with 0" ends "$run_pid" 5 0
all_json() { while IFS= read -r line; do json seq <<< "$line" > /dev/null || return 1; done < "$dir/events"; }
check "--events: every line is JSON" all_json
check "--events: all that happened" \
  [ "$(grep -cE '"event":"(guest_reset|paused)"' "$dir/events")" -ge 2 ]

# On a terminal, which script makes.
mkfifo "$dir/keys"
exec {keyboard}<> "$dir/keys"
script -qec "build/bin/dvm-run --name keys --kernel $cache/kernels/cloud/vmlinuz --initrd $cache/initramfs-cloud.cpio \
  --append 'console=ttyS0 quiet dvm.script64=$(encoded 'echo READY; sleep 600')'" /dev/null \
  <&"$keyboard" > "$dir/keys.out" 2> "$dir/keys.err" &
run_pid=$!
started+=("$run_pid")
check "boots on a terminal" wait_for keys READY 60
printf '\001h' >&"$keyboard"
check "Ctrl-A h" wait_for keys 'Ctrl-A x' 5
printf '\001x' >&"$keyboard"
check "Ctrl-A x" ends "$run_pid" 5 0
check "nothing is left" nothing_left
done_testing
