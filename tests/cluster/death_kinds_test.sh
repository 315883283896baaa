#!/usr/bin/env bash
# long
# Whichever node with vCPUs dies, and whatever the guest is doing: dvm-run ends with 1 within a second, says
# which node it was, and leaves nothing. The guest is busy, as guests are when it matters.
# A second is long for this, but a machine may be busy with other things: what takes longer is tried once more.
# shellcheck disable=SC2016,SC2317 # what the guest is to expand; functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

busy='i=0; while :; do i=$((i + 1)); done'
limit_ms=1000
now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

# The process of a node; fails while it is not there yet.
node_pid() { # NAME NODE
  ctl "$1" --json status 2> /dev/null |
    perl -MJSON::PP -0777 -e 'my $pid = decode_json(<STDIN>)->{nodes}[shift]{pid} or exit 1; print $pid' "$2" 2> /dev/null
}

# The node's process gets SIGKILL; dvm-run must end in time.
dies() { # NAME NODE
  local victim began took i
  for ((i = 0; i < 100; ++i)); do
    victim=$(node_pid "$1" "$2") && break
    sleep 0.1
  done
  [ -n "$victim" ] || { echo "      $1: no node $2"; return 1; }
  began=$(now_ms)
  kill -KILL "$victim" || return 1
  ends "$run_pid" 5 1 || return 1
  took=$(($(now_ms) - began))
  echo "      $1: ended after $took ms"
  ((took <= limit_ms)) || return 1
  grep -q "node $2 (pid $victim) died" "$dir/$1.err" && nothing_left
}

# twice CMD NAME…: again, with another name, if it did not hold.
twice() {
  "$1" "$2" "${@:3}" || "$1" "$2-again" "${@:3}"
}

# begin NAME OPTION…: a busy guest, up.
begin() {
  start "$1" "$busy" --memory 256M "${@:2}" && wait_for "$1" DVM-USERSPACE 60
}
up_then_dies() { # NAME NODE OPTION…
  begin "$1" "${@:3}" && dies "$1" "$2"
}
memory_only_dies() {
  local victim
  begin "$1" --nodes 2 --cpus 2 --placement 0,0 && victim=$(node_pid "$1" 1) && kill -KILL "$victim" &&
    wait_for "$1" "node 1 \\(pid $victim\\) died: .* it had no vCPU, the guest goes on" 20 &&
    ctl "$1" stop > /dev/null && ends "$run_pid" 30 0 && nothing_left
}
paused_then_dies() {
  begin "$1" --nodes 2 --cpus 2 && ctl "$1" pause > /dev/null && dies "$1" 1
}
booting_then_dies() {
  start "$1" "$busy" --nodes 2 --cpus 2 --memory 256M && dies "$1" 1
}

# The launcher's death, which no code of its own can clean up after.
launcher_dies() {
  local began took
  begin "$1" --nodes 2 --cpus 4 || return 1
  began=$(now_ms)
  kill -KILL "$run_pid"
  while pgrep '^dvm-node' > /dev/null && (($(now_ms) - began < 5000)); do sleep 0.02; done
  took=$(($(now_ms) - began))
  echo "      $1: its nodes ended after $took ms"
  wait "$run_pid" 2> /dev/null
  ((took <= limit_ms))
}
same_name_again() {
  rm "$dir/launcher.in"
  # The folders of guests that were killed are still there; of those whose name is used again nothing must be left.
  start launcher 'echo AGAIN' && ends "$run_pid" 60 0 && grep -q AGAIN "$dir/launcher.out" &&
    [ ! -e "$DVM_RUNTIME_DIR/launcher" ]
}

check "the boot vCPU's node" twice up_then_dies boot-node 0 --nodes 2 --cpus 4
check "one of four nodes" twice up_then_dies one-of-four 2 --nodes 4 --cpus 4
check "a node that holds memory only: the guest goes on" twice memory_only_dies memory-only
check "the only node" twice up_then_dies only-node 0 --cpus 2
check "a node of a paused guest" twice paused_then_dies paused
check "a node while the guest boots" twice booting_then_dies booting
check "the launcher" twice launcher_dies launcher
check "a killed launcher's name can be used again" same_name_again
done_testing
