# Sourced after fault_lib.sh by the tests of dvm-run --protect: a guest that checks itself while its nodes die.
# shellcheck shell=bash disable=SC2016,SC2154,SC2034 # what the guest is to expand; dir is lib.sh's; what tests read
kept=${kept:-keep} # the guest's name

# Numbered lines on the serial port, a register access for each byte: one lost or repeated shows. Until it is told to end.
count_up='i=0; while [ ! -e /done ]; do i=$((i + 1)); echo "line $i"; sleep 0.05; done'
# A virtio device at work all the time, from all CPUs; its driver comes and goes.
draw='d=/sys/bus/virtio/drivers/virtio_rng; v=$(cd $d && echo virtio*)
while [ ! -e /done ]; do for c in 1 2 4 8; do
  [ "$(taskset $c head -c 32 /dev/hwrng | wc -c)" = 32 ] || echo FAILED; usleep 100000
  taskset $c sh -c "echo $v > $d/unbind && echo $v > $d/bind" || echo FAILED
done; done'
start_keep() { # [PROTECTION]
  start keep "(read -r x < /dev/console; touch /done) & ($count_up) & ($draw) & echo WORKING
    while [ ! -e /done ]; do smp_stress --seconds 8 || exit 1; done
    clock_check --seconds 4; wait" --nodes 3 --cpus 4 --memory 256M --protect "${1:-flush}" --events "$dir/keep.events"
}
pid_of() { # NODE
  ctl "$kept" status 2> /dev/null | awk -v n="$1" '/^[A-Z]/ { on = $1 == "NODE" } on && $1 == n { print $2 }'
}
gone() { # NODE: taken off, and so its number is free
  local until=$((SECONDS + 60))
  while [ -n "$(pid_of "$1")" ]; do
    [ "$SECONDS" -lt "$until" ] || return 1
    sleep 0.1
  done
}
back() { # NODE: there again, with vCPUs
  local until=$((SECONDS + 60))
  until ctl "$kept" add-node > "$dir/came" 2>&1; do
    [ "$SECONDS" -lt "$until" ] || { cat "$dir/came"; return 1; }
    sleep 0.1
  done
  grep -q "node $1 is there" "$dir/came" || { cat "$dir/came"; return 1; }
  until ctl "$kept" migrate-vcpu $((RANDOM % 4)) --to "$1" > "$dir/came" 2>&1; do
    [ "$SECONDS" -lt "$until" ] || { cat "$dir/came"; return 1; }
    sleep 0.1
  done
  ctl "$kept" migrate-vcpu $((RANDOM % 4)) --to "$1" >> "$dir/came"
}
ended() { # without a guest there is no more to be seen
  kill -0 "$run_pid" 2> /dev/null && return 1
  fail "the guest has ended"
  tail -n 20 "$dir/$kept.err" | sed 's/^/      | /'
  tail -n 25 "$dir/$kept.events" | sed 's/^/      | /'
}

# What campaigns repeat.
let_nodes_die() { # [--grows FILE] KIND:TIMES…
  python3 tests/cluster/node_deaths.py "$kept" "$dir" "$RANDOM" "$@" || failures=$((failures + 1))
}
spread() { # TITLE < LINES with :NS
  cut -d: -f2 | sort -n | awk -v title="$1" '{ ns[NR] = $1 } END { if (NR) printf "      %s: %d times, median %d us, p95 %d us, longest %d us\n",
    title, NR, ns[int((NR + 1) / 2)] / 1000, ns[int(NR * .95 + .5)] / 1000, ns[NR] / 1000 }'
}
tell_pauses() {
  local kind
  for kind in point kill pair hang power-failure host; do
    [ ! -e "$dir/pauses.$kind" ] || spread "a vCPU stood still, $kind" < "$dir/pauses.$kind"
  done
  grep '"event":"node_recovered"' "$dir/$kept.events" | grep -oE '"took_ns":[0-9]+' | spread "a keeper took"
}
lines_are_whole() { # every number once, in order
  tr -d '\r' < "$dir/keep.out" | grep -aoE 'line [0-9]+$' | awk -v least="${least_lines:-20}" '
    $2 != last + 1 { printf "      line %d after line %d\n", $2, last; bad = 1 } { last = $2 } END { exit bad || last < least }'
}
ends_well() {
  echo >&"$console_in"
  check "no wrong result" wait_for keep '^smp_stress: ok' 180
  check "the clock did not go back" wait_for keep '^clock_check: ok' 150
  check "ends with 0" ends "$run_pid" 60 0
  check "no line lost or repeated" lines_are_whole
  check "the device answered each time" [ "$(count keep FAILED)" = 0 ]
  check "no complaint of the kernel's" [ "$(count keep 'BUG|WARNING|Oops|rcu:.*stall|soft lockup')" = 0 ]
  check "nothing is left" nothing_left
}
