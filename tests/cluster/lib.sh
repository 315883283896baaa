# Sourced by the cluster tests, which run where KVM is (tools/lab run -- tests/cluster/X_test.sh): start
# guests, wait for what they print, look at what they leave behind.
# shellcheck shell=bash
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
cache=${DVM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dvm}
dir=$(mktemp -d)
export DVM_RUNTIME_DIR=$dir/run
failures=0
# Everything we started, so that a failing test leaves nothing to the next.
started=()
cleanup() {
  for pid in "${started[@]}"; do kill -9 "$pid" 2> /dev/null; done
  rm -rf "$dir"
}
trap cleanup EXIT

ok() { echo "ok    $*"; }
fail() { echo "FAIL  $*"; failures=$((failures + 1)); }
# check TITLE CMD…: one check. False if it does not hold.
check() {
  local title=$1
  shift
  if "$@"; then ok "$title"; else fail "$title"; return 1; fi
}
done_testing() { [ "$failures" = 0 ]; exit $?; }

encoded() { base64 -w0 <<< "$1"; }

# start NAME SCRIPT OPTION…: dvm-run in the background; the guest's init runs SCRIPT. Sets run_pid.
start() {
  local name=$1 script=$2 flavour=${kernel:-cloud}
  shift 2
  mkfifo "$dir/$name.in"
  build/bin/dvm-run --name "$name" --kernel "$cache/kernels/$flavour/vmlinuz" \
    --initrd "$cache/initramfs-$flavour.cpio" \
    --append "console=ttyS0 quiet ${append:-} dvm.script64=$(encoded "$script")" "$@" \
    < "$dir/$name.in" > "$dir/$name.out" 2> "$dir/$name.err" &
  run_pid=$!
  started+=("$run_pid")
  exec {console_in}> "$dir/$name.in" # keeps it open; write to it to type
}

# Limits are for a machine of the usual speed; one that is slow or busy, with KVM emulated, takes up to three times
# as long. No test here is a benchmark.
patience=3

# wait_for NAME REGEX SECONDS: until the guest's console (or dvm-run) has printed it. Looks each look_every (0.1) s.
wait_for() {
  local deadline=$((SECONDS + patience * $3)) # by the clock: on a busy machine a look can take longer than the pause
  while [ "$SECONDS" -lt "$deadline" ]; do
    grep -qE "$2" "$dir/$1.out" "$dir/$1.err" 2> /dev/null && return 0
    sleep "${look_every:-0.1}"
  done
  echo "      $1: no '$2' within $((patience * $3)) s; the console's end:"
  tail -n 25 "$dir/$1.out" "$dir/$1.err" | sed 's/^/      | /'
  return 1
}

count() { grep -cE "$2" "$dir/$1.out"; } # NAME REGEX

# ends PID SECONDS CODE: it ends in time, with this exit code.
ends() {
  local deadline=$((SECONDS + patience * $2)) code=0
  while [ "$SECONDS" -lt "$deadline" ]; do
    kill -0 "$1" 2> /dev/null || break
    sleep 0.05
  done
  if kill -0 "$1" 2> /dev/null; then
    echo "      still running after $((patience * $2)) s"
    return 1
  fi
  wait "$1" || code=$?
  [ "$code" = "$3" ] || { echo "      exit code $code, expected $3"; return 1; }
}

# No process and no file of any guest.
nothing_left() {
  local i left
  for ((i = 0; i < 20; ++i)); do
    left=$(pgrep -a '^dvm-' | grep -v dvm-kvm-probe)
    [ -n "$left" ] || break
    sleep 0.05
  done
  [ -z "$left" ] || { echo "      processes left: $left"; return 1; }
  left=$(find "$DVM_RUNTIME_DIR" -mindepth 1 2> /dev/null)
  [ -z "$left" ] || { echo "      files left: $left"; return 1; }
}

ctl() { build/bin/dvm-ctl --name "$@"; }
