#!/usr/bin/env bash
# Nodes that are killed, hang or lose their power while the guest checks itself: with --protect flush it goes on,
# from the very instruction.
# shellcheck disable=SC2154,SC2317 # busy is fault_lib's; functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cluster/fault_lib.sh
. tests/cluster/fault_lib.sh

pid_of() { # NAME NODE
  ctl "$1" --json status 2> /dev/null | python3 -c 'import json, sys
print(*(node["pid"] for node in json.loads(sys.stdin.read() or "{\"nodes\": []}")["nodes"] if node["id"] == int(sys.argv[1])))' "$2"
}
has_node() { [ -n "$(pid_of "$1" "$2")" ]; }
gone() { # NAME NODE: taken off, and so its number is free
  local i
  for ((i = 0; i < 100; ++i)); do
    has_node "$@" || return 0
    sleep 0.1
  done
  return 1
}
back() { # NAME NODE: there again; vCPUs are spread anew by hand
  local i
  for ((i = 0; i < 50; ++i)); do
    ctl "$1" add-node > "$dir/came" 2>&1 && grep -q "node $2 is there" "$dir/came" && return
    sleep 0.1
  done
  cat "$dir/came"
  return 1
}
spread() { # NAME NODE: two vCPUs go there
  ctl "$1" migrate-vcpu $((RANDOM % 4)) --to "$2" >> "$dir/moves" && ctl "$1" migrate-vcpu $((RANDOM % 4)) --to "$2" >> "$dir/moves"
}
RANDOM=${SEED:-1}
ended() { # without a guest there is no more to be seen
  kill -0 "$run_pid" 2> /dev/null && return 1
  fail "the guest has ended"
  tail -n 20 "$dir/keep.err" | sed 's/^/      | /'
  grep -vE 'page_shared' "$dir/keep.events" | tail -n 25 | sed 's/^/      | /'
}

start keep "(read -r x < /dev/console; touch /done) & echo WORKING
  while [ ! -e /done ]; do smp_stress --seconds 8 || exit 1; done
  clock_check --seconds 4; wait" --nodes 3 --cpus 4 --memory 256M --protect flush --events "$dir/keep.events"
check "works" wait_for keep WORKING 90 || exit 1
check "status says how it is protected" [ "$(ctl keep --json status | python3 -c 'import json, sys; print(json.load(sys.stdin)["protect"])')" = flush ]

for ((i = 0; i < ${KILLS:-6}; ++i)); do
  node=$((i % 3))
  sleep "0.$((RANDOM % 10))"
  kill -9 "$(pid_of keep $node)"
  check "node $node is killed and taken off" gone keep $node
  ! ended || exit 1
  check "it is back" back keep $node
  check "and gets vCPUs" spread keep $node
done
check "power fails" inject keep power-fail 1
check "the node leaves" gone keep 1
check "it is back" back keep 1
check "and gets vCPUs" spread keep 1
check "a node hangs" inject keep hang 2
check "it is powered off" gone keep 2
! ended || exit 1
echo >&"$console_in"
check "no wrong result" wait_for keep '^smp_stress: ok' 60
check "clock" wait_for keep '^clock_check: ok' 60
check "ends with 0" ends "$run_pid" 60 0
check "no complaint of the kernel's" [ "$(count keep 'BUG|WARNING|Oops|rcu:.*stall|soft lockup')" = 0 ]
check "every death is told" told keep node_died '"node":' $((${KILLS:-6} + 1))
check "and what became of it" told keep node_recovered '"vcpus":' $((${KILLS:-6} + 1))
check "nothing is left" nothing_left
done_testing
