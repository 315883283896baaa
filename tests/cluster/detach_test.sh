#!/usr/bin/env bash
# --detach: dvm-run returns once the guest runs; the guest goes on, is found by dvm-ctl list, shows its
# console to whoever attaches, and ends in order. A guest that cannot start is reported in the foreground.
# shellcheck disable=SC2016,SC2317 # the guest's script; functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

guest=(--kernel "$cache/kernels/cloud/vmlinuz" --initrd "$cache/initramfs-cloud.cpio")
script='echo READY; while read -r line; do echo "got:$line"; done; sleep 600'
json() { perl -MJSON::PP -0777 -e 'print decode_json(<STDIN>)->{guests}[0]{$ARGV[0]}' "$1"; }

# In a pipe, as in $(dvm-run --detach): it ends when dvm-run does, not when the guest does.
said=$(timeout 90 build/bin/dvm-run --name bg --nodes 2 --cpus 2 --memory 256M --detach "${guest[@]}" \
  --append "console=ttyS0 quiet dvm.script64=$(encoded "$script")" 2>&1)
check "dvm-run --detach returns 0" [ $? = 0 ]
check "says that the guest runs in the background" grep -q 'runs in the background' <<< "$said"
pid=$(build/bin/dvm-ctl --json list | json pid)
started+=("$pid")
check "list: its process is there" kill -0 "$pid"
check "list: of a session of its own" [ "$(ps -o sid= -p "$pid" | tr -d ' ')" = "$pid" ]
check "list: state" [ "$(build/bin/dvm-ctl --json list | json state)" = running ]
check "list as text" grep -qE '^bg +[0-9]+ +running +2 +2 +256 MiB +1 +[0-9]+s' <(build/bin/dvm-ctl list)

mkfifo "$dir/keys"
exec {keys}<> "$dir/keys"
build/bin/dvm-ctl --name bg console <&"$keys" > "$dir/bg.out" 2> "$dir/bg.err" &
started+=($!)
check "console: what was printed, and what is" wait_for bg READY 60
echo hello >&"$keys"
check "console: what is typed" wait_for bg 'got:hello' 20
check "console: a second one sees what was printed before" \
  grep -q got:hello <(timeout 10 build/bin/dvm-ctl --name bg console < /dev/null | grep -m1 got:hello)
check "a name in use is refused" [ "$(build/bin/dvm-run --name bg --detach "${guest[@]}" 2>&1 |
  grep -c 'running already')" = 1 ]
check "the log has what was said" grep -q '2 vCPUs on 2 nodes' "$DVM_RUNTIME_DIR/bg/log"
check "stop" ctl bg stop
gone() { for ((i = 0; i < 100; ++i)); do kill -0 "$pid" 2> /dev/null || return 0; sleep 0.05; done; return 1; }
check "the launcher ends" gone
check "console: told of the end" wait_for bg 'the guest has ended' 5
check "nothing is left" nothing_left

# What cannot start says so in the foreground, with the usual exit codes.
code_of() { "$@" > "$dir/out" 2>&1; code=$?; }
code_of build/bin/dvm-run --detach --kernel "$dir/absent"
check "no kernel: 64, one line" [ "$code $(wc -l < "$dir/out")" = "64 1" ]
code_of build/bin/dvm-run --detach "${guest[@]}" --serial "unix:$dir/no/such/folder/s"
check "no folder for the socket: 1" [ "$code" = 1 ]
check "no folder for the socket: one line" [ "$(wc -l < "$dir/out")" = 1 ]
check "its log is kept" [ "$(find "$DVM_RUNTIME_DIR" -name 'dvm-*:log' | wc -l)" = 1 ]
rm -f "$DVM_RUNTIME_DIR"/*:log

# A launcher that is killed: the guest ends, and list cleans up.
build/bin/dvm-run --name killed --detach "${guest[@]}" --append "console=ttyS0 quiet" 2> /dev/null
pid=$(build/bin/dvm-ctl --json list | json pid)
kill -9 "$pid"
sleep 0.5
check "a killed one is cleaned up by list" grep -q 'killed: its dvm-run was killed' <(build/bin/dvm-ctl list 2>&1)
check "nothing is left" nothing_left
done_testing
