# Sourced after fault_lib.sh by the tests of dvm-run --protect flush: a guest that checks itself while its nodes die.
# shellcheck shell=bash disable=SC2016,SC2154,SC2034 # what the guest is to expand; dir is lib.sh's; what tests read

# Numbered lines on the serial port, a register access for each byte: one lost or repeated shows. Until it is told to end.
count_up='i=0; while [ ! -e /done ]; do i=$((i + 1)); echo "line $i"; sleep 0.05; done'
start_keep() {
  start keep "(read -r x < /dev/console; touch /done) & ($count_up) & echo WORKING
    while [ ! -e /done ]; do smp_stress --seconds 8 || exit 1; done
    clock_check --seconds 4; wait" --nodes 3 --cpus 4 --memory 256M --protect flush --events "$dir/keep.events"
}
pid_of() { # NODE
  ctl keep --json status 2> /dev/null | python3 -c 'import json, sys
nodes = json.loads(sys.stdin.read() or "{\"nodes\": []}")["nodes"]
print(*(node["pid"] for node in nodes if node["id"] == int(sys.argv[1])))' "$1"
}
gone() { # NODE: taken off, and so its number is free
  local until=$((SECONDS + 20))
  while [ -n "$(pid_of "$1")" ]; do
    [ "$SECONDS" -lt "$until" ] || return 1
    sleep 0.1
  done
}
back() { # NODE: there again, with vCPUs
  local until=$((SECONDS + 20))
  until ctl keep add-node > "$dir/came" 2>&1; do
    [ "$SECONDS" -lt "$until" ] || { cat "$dir/came"; return 1; }
    sleep 0.1
  done
  grep -q "node $1 is there" "$dir/came" || { cat "$dir/came"; return 1; }
  until ctl keep migrate-vcpu $((RANDOM % 4)) --to "$1" > "$dir/came" 2>&1; do
    [ "$SECONDS" -lt "$until" ] || { cat "$dir/came"; return 1; }
    sleep 0.1
  done
  ctl keep migrate-vcpu $((RANDOM % 4)) --to "$1" >> "$dir/came"
}
ended() { # without a guest there is no more to be seen
  kill -0 "$run_pid" 2> /dev/null && return 1
  fail "the guest has ended"
  tail -n 20 "$dir/keep.err" | sed 's/^/      | /'
  tail -n 25 "$dir/keep.events" | sed 's/^/      | /'
}
lines_are_whole() { # every number once, in order
  tr -d '\r' < "$dir/keep.out" | grep -aoE 'line [0-9]+$' | awk '
    $2 != last + 1 { printf "      line %d after line %d\n", $2, last; bad = 1 } { last = $2 } END { exit bad || last < 20 }'
}
ends_well() {
  echo >&"$console_in"
  check "no wrong result" wait_for keep '^smp_stress: ok' 90
  check "the clock did not go back" wait_for keep '^clock_check: ok' 60
  check "ends with 0" ends "$run_pid" 60 0
  check "no line lost or repeated" lines_are_whole
  check "no complaint of the kernel's" [ "$(count keep 'BUG|WARNING|Oops|rcu:.*stall|soft lockup')" = 0 ]
  check "nothing is left" nothing_left
}
