#!/usr/bin/env bash
# Forks of a guest during which somebody is killed: the parent, one of its nodes, dvm-ctl, a clone or its node. Whoever was not killed
# goes on as before and finds its memory as it left it; what could not be done is told; nothing is left.
#   tests/cluster/campaign_fork.sh [KILLS (200)] [SEED (1)], in tools/lab run --timeout 7200 --
# shellcheck disable=SC2016,SC2317 # what the guest is to expand; functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
kills=${1:-200}
RANDOM=${2:-1}

# A clone writes as soon as it is one; all tell that they live.
read -r -d '' script << 'END'
mkfifo /go; (fork_witness --pages 1000 --writes 1000 < /go) & exec 3> /go
echo write >&3
n=0
while :; do n=$((n + 1)); echo "alive $n"; [ $((n % 5)) = 0 ] && echo write >&3; sleep 1; done
END
lives() { # FILE: it says so once more
  local had=$(grep -c '^alive' "$dir/$1.out") until=$((SECONDS + 60))
  until [ "$(grep -c '^alive' "$dir/$1.out")" -gt "$had" ]; do
    [ "$SECONDS" -lt "$until" ] || { echo "      $1 says nothing"; return 1; }
    sleep 0.2
  done
}
right() { ! grep -hE 'fork_witness: FAIL|BUG|Oops|general protection' "$dir/$1.out"; }
begin() { # NAME
  rm -f "$dir/$1".*
  kernel=amd64 start "$1" "$script" --nodes 2 --cpus 2 --memory 128M
  wait_for "$1" '^fork_witness: ok' 90
}
pid_of() { ctl "$1" --json status 2> /dev/null | grep -o '"pid":[0-9]*' | sed -n "${2}s/.*://p"; } # NAME LINE: of a node
launcher_of() { cat "$DVM_RUNTIME_DIR/$1/pid" 2> /dev/null; }
shared_kib() { sed -n 's/^Shmem: *\([0-9]*\).*/\1/p' /proc/meminfo; }

check "a bystander begins" begin bystander || exit 1
bystander=$run_pid
base=$(shared_kib)
alive='' done_kills=0
for ((i = 1; i <= kills; ++i)); do
  if [ -z "$alive" ]; then
    begin parent > "$dir/why" || { fail "$i: the parent does not begin"; cat "$dir/why"; break; }
    alive=$run_pid
  fi
  rm -f "$dir"/clone-*.out
  ctl parent fork clone --count 2 -- --nodes 2 --serial "file:$dir/clone-{n}.out" > "$dir/fork.out" 2>&1 &
  forking=$!
  sleep "$((RANDOM % 6)).$((RANDOM % 10))"
  case $((RANDOM % 5)) in
    0) what=parent victim=$alive ;;
    1) what="parent's node" victim=$(pid_of parent 2) ;;
    2) what=dvm-ctl victim=$forking ;;
    3) what=clone victim=$(launcher_of clone-1) ;;
    4) what="clone's node" victim=$(pid_of clone-1 1) ;;
  esac
  if [ -n "$victim" ] && kill -9 "$victim" 2> /dev/null; then done_kills=$((done_kills + 1)); fi
  code=0; wait "$forking" 2> /dev/null || code=$?
  sleep 1 # nodes end with their launchers
  echo "      $i: $what ${victim:-(not there yet)}: fork ended with $code: $(tr '\r' '\n' < "$dir/fork.out" | tail -n 1)"
  if ! kill -0 "$alive" 2> /dev/null; then alive=''; fi
  case $what in
    parent*) [ -z "$alive" ] || [ -z "$victim" ] || { sleep 3; kill -0 "$alive" 2> /dev/null && fail "$i: the parent lives on"; alive=''; } ;;
    *) lives parent && right parent || { fail "$i: $what killed, and the parent is disturbed"; alive=''; } ;;
  esac
  lives bystander && right bystander || { fail "$i: the bystander is disturbed"; break; }
  for clone in clone-1 clone-2; do
    [ -e "$dir/$clone.out" ] || continue
    right $clone || fail "$i: $clone is not right"
    case $what$clone in "clone"*clone-1) ctl $clone stop > /dev/null 2>&1; continue ;; esac
    if ctl $clone status > /dev/null 2>&1; then lives $clone || fail "$i: $clone is disturbed"; fi
    ctl $clone stop > /dev/null 2>&1
  done
  sleep 1
  build/bin/dvm-ctl list > /dev/null 2>&1
  left=$(find "$DVM_RUNTIME_DIR" -mindepth 1 -maxdepth 1 -printf '%f ' | sed 's/bystander//; s/parent//; s/clone-[12].log//g' | tr -d ' ')
  [ -z "$left" ] || fail "$i: left behind: $left"
done
check "$done_kills kills" [ "$done_kills" -gt 0 ]
[ -z "$alive" ] || { ctl parent stop > /dev/null; wait "$alive" 2> /dev/null; }
now=$(shared_kib)
check "no memory is left behind ($base KiB then, $now KiB now)" [ "$now" -lt $((base + 65536)) ]
ctl bystander stop > /dev/null
check "the bystander ends" ends "$bystander" 20 0
done_testing
