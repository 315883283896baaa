#!/usr/bin/env bash
# long
# lab: --kernel backports
# Locality in a running guest: a vCPU goes to the pages that it uses, why says so, a trace is recorded and replayed, the
# role to decide goes to another node, and a node that heats up is left before it fails.
. "$(dirname "$0")/lib.sh"

start local 'while read -r w && [ "$w" != end ]; do locality_work --workload "$w" --begin told; done' --nodes 3 --cpus 2 \
  --placement 0,1 --memory 256M --coherence software --coherent-memory 4M --policy learned --events "$dir/events"
check "starts" wait_for local DVM-USERSPACE 120

decider() { ctl local --json why | sed -n 's/.*"decider":\([0-9a-z]*\).*/\1/p'; }
decides() { # NODE SECONDS
  local i
  for ((i = 0; i < $2 * 10; ++i)); do
    [ "$(decider)" = "$1" ] && return 0
    sleep 0.1
  done
  return 1
}
somebody_decides() { decides 0 3 || decides 1 3 || decides 2 3; }
check "a node has the role to decide" somebody_decides
check "costs are measured" grep -q '^measured: ' <(ctl local why)

# A workload's pages are where they are to be at first, and it has not begun. The policy may have moved vCPUs before.
ready=0
prepare() { # WORKLOAD
  local i
  ready=$((ready + 1))
  ctl local policy static > /dev/null
  ctl local migrate-vcpu 0 --to 0 > /dev/null
  ctl local migrate-vcpu 1 --to 1 > /dev/null
  echo "$1" >&"$console_in"
  for ((i = 0; i < 1200; ++i)); do
    [ "$(count local '^locality_work: ready')" -ge "$ready" ] && return 0
    sleep 0.1
  done
  return 1
}
done_times() { [ "$(count local "^locality_work: ok workload=$1")" -ge "$2" ]; } # WORKLOAD TIMES
done_within() { # WORKLOAD TIMES SECONDS
  local deadline=$((SECONDS + $3))
  while [ "$SECONDS" -lt "$deadline" ]; do
    done_times "$1" "$2" && return 0
    sleep 0.2
  done
  tail -n 25 "$dir/local.out"
  return 1
}

# All of its faults, as nobody moves: 1,024 pages of each vCPU are with the other node.
check "private-elsewhere is prepared" prepare private-elsewhere
ctl local trace "$dir/trace" --for 20 > "$dir/tracing.out" 2>&1 &
tracing=$!
check "a trace begins" wait_for tracing traced 10
echo go >&"$console_in"
check "trace" wait "$tracing"
check "it is done" done_within private-elsewhere 1 240
check "the trace is replayed" build/bin/dvm-bench locality --trace "$dir/trace" > "$dir/replay"
sed 's/^/      | /' "$dir/replay"
recorded=$(sed -n 's/.* \([0-9]*\) faults recorded.*/\1/p' "$dir/replay")
check "of at least 200 faults: $recorded" test "${recorded:-0}" -ge 200

check "it is prepared again" prepare private-elsewhere
ctl local policy learned > /dev/null
echo go >&"$console_in"
check "it is done again" done_within private-elsewhere 2 240
check "a vCPU went to its pages" grep -q 'vCPU [01] .* pages that it fetched from there lately' <(ctl local why)
ctl local why | tail -n 3 | sed 's/^/      | /'
check "its event" grep -q '"event":"vcpu_moved"' "$dir/events"
check "a trace that is cut off is refused" \
  grep -q 'bytes, its header says' <(head -c -1 "$dir/trace" > "$dir/cut"; build/bin/dvm-bench locality --trace "$dir/cut" 2>&1)

was=$(decider)
check "the node that decides is emptied" ctl local evacuate "$was"
other=$(((was + 1) % 3)) third=$(((was + 2) % 3))
elsewhere() { decides "$other" 2 || decides "$third" 2; }
check "another one decides" elsewhere

# A node that comes gets one of two that are together.
for v in 0 1; do ctl local migrate-vcpu "$v" --to "$other" > /dev/null; done
check "it leaves" ctl local remove-node "$was"
check "and comes back" grep -q "node $was is there" <(ctl local add-node)
given() { # within 20 s
  local i
  for ((i = 0; i < 200; ++i)); do
    grep -q "from node [0-9]* to node $was: node $was has just come and has none, .* (done" <(ctl local why) && return 0
    sleep 0.1
  done
  ctl local why | tail -n 5
  return 1
}
check "it is given a vCPU, and why tells" given

on_node() { # NODE: the rows of the vCPUs there
  ctl local status | awk -v n="$1" '/^[A-Z]/ { on = $1 == "VCPU" } on && $2 == n { print }'
}
# The trend of a node that runs a vCPU.
hot=$(ctl local status | awk '/^VCPU/ { on = 1; next } on && NF { print $2; exit }')
for t in 60 75 90; do
  build/bin/dvm-fault --name local telemetry "$hot" temperature "$t" > /dev/null
  sleep 1
done
evacuated() { # within 30 s
  local i
  for ((i = 0; i < 300; ++i)); do
    grep -q "node $hot is evacuated: its temperature is 90 and would reach what it can bear in .* (done)" <(ctl local why) && return 0
    sleep 0.1
  done
  ctl local why
  return 1
}
check "a node that heats up is evacuated, and why tells" evacuated
check "its event" grep -q "\"event\":\"node_failing\".*\"node\":$hot" "$dir/events"
check "it has no vCPU" [ -z "$(on_node "$hot")" ]
printf 'two-sharing\ngo\n' >&"$console_in"
check "the guest works on" done_within two-sharing 1 240
echo end >&"$console_in"
check "ends by itself with 0" ends "$run_pid" 60 0
check "nothing is left" nothing_left
done_testing
