#!/usr/bin/env bash
# long
# lab: --modules tun
# TCP sessions through the user network and through a tap go on while vCPUs move and the nodes that serve the
# network are emptied, leave and come back.
. "$(dirname "$0")/lib.sh"

lines=150 # one every 0.2 s: longer than all that is done meanwhile
talk() { # PORT
  (for ((i = 1; i <= lines; ++i)); do echo "line $i"; sleep 0.2; done | busybox nc -l -p "$1" > "$dir/back.$1") &
  started+=("$!")
}
# What came in goes back, so that both ways are seen.
read -r -d '' common << 'END'
talk() { # NAME HOST PORT
  n=0
  mkfifo /back
  nc "$2" "$3" < /back | while read -r word i; do
    n=$((n + 1))
    [ "$word $i" = "line $n" ] || echo "$1: line $n is '$word $i'"
    echo "got $i"
    [ "$n" != LINES ] || echo "$1 got all" > /dev/console
  done > /back
}
END
common=${common/LINES/$lines}

moved_about() { # NAME: every node is without vCPUs once, leaves and comes back
  local step
  for step in "migrate-vcpu 0 --to 1" "migrate-vcpu 0 --to 0" "evacuate 0" "remove-node 0" add-node \
    "migrate-vcpu 1 --to 0" "remove-node 1" add-node "migrate-vcpu 0 --to 1"; do
    # shellcheck disable=SC2086 # words
    ctl "$1" $step >> "$dir/moves" 2>&1 || { tail -n 1 "$dir/moves"; return 1; }
  done
}
session() { # NAME PORT
  check "$1: the session has begun" wait_for "$1" SESSION 90
  check "$1: nodes come and go" moved_about "$1"
  check "$1: no line is lost on the way in" wait_for "$1" "$1 got all" 120
  check "$1: nor on the way out" [ "$(grep -c '^got' "$dir/back.$2")" -ge $((lines - 1)) ]
  check "$1: in order" diff <(seq -f 'got %g' "$(wc -l < "$dir/back.$2")") "$dir/back.$2"
  check "$1: never a wrong one" [ "$(count "$1" "$1: line")" = 0 ]
  check "$1: ends by itself with 0" ends "$run_pid" 30 0
}

talk 8001
start user "$common
  ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
  echo SESSION; talk user 10.0.2.2 8001" --nodes 2 --cpus 2 --memory 256M --net user
session user 8001

ip tuntap add tap0 mode tap && ip addr add 192.0.2.1/24 dev tap0 && ip link set tap0 up
talk 8002
start tap "$common
  ip link set eth0 up; ip addr add 192.0.2.2/24 dev eth0
  echo SESSION; talk tap 192.0.2.1 8002" --nodes 2 --cpus 2 --memory 256M --net tap=tap0
session tap 8002
check "nothing is left" nothing_left
done_testing
