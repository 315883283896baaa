#!/usr/bin/env bash
# vCPUs of a Debian over three nodes move about at random, and nodes are emptied, leave and come back, while
# stress-ng verifies its work, fio what it reads from a disk, and clock_check that no clock goes back. A node that has
# come is given a vCPU by the policy, without being told. Not part of tools/test, for its length:
#   tools/lab run --timeout 1800 --disk IMAGE --memory 5G -- tests/cluster/campaign_migrate.sh [MOVES [EVACUATIONS [SEED]]]
# shellcheck disable=SC2317 # functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cluster/image_lib.sh
. tests/cluster/image_lib.sh
moves=${1:-1000} rounds=${2:-10} RANDOM=${3:-1}

truncate -s 32M "$dir/verified.img"
image_nodes=3 start_image --policy learned --disk "$dir/verified.img" --events "$dir/events"
check "a login prompt" wait_for image "login:" 240
check "systemd says running" image_runs

in_guest 'cat > /root/clock_check; chmod +x /root/clock_check' < "$cache/programs/clock_check"
# Until it is told to end; each part says how it went.
read -r -d '' work << 'END'
cd /root
verify() {
  n=0 bad=0
  while [ ! -e done ]; do
    n=$((n + 1))
    fio --name=v --filename=/dev/vdb --size=24M --bs=16k --rw=randwrite --ioengine=libaio --iodepth=4 --direct=1 \
      --verify=crc32c --verify_fatal=1 > fio.out 2>&1 || { bad=$((bad + 1)); cat fio.out; }
  done
  echo "FIO $n rounds, $bad bad"
}
stress() {
  n=0 bad=0
  while [ ! -e done ]; do
    n=$((n + 1))
    stress-ng --verify --timeout 20s --cpu 1 --vm 1 --vm-bytes 64M --futex 1 --switch 1 --sem 1 > stress.out 2>&1 ||
      { bad=$((bad + 1)); cat stress.out; }
    ! grep -iE 'stress-ng: (fail|error)' stress.out || bad=$((bad + 1))
  done
  echo "STRESS $n rounds, $bad bad"
}
clock() {
  n=0 bad=0
  while [ ! -e done ]; do
    n=$((n + 1))
    ./clock_check --seconds 5 > clock.out 2>&1 || { bad=$((bad + 1)); cat clock.out; }
    sleep 5
  done
  echo "CLOCK $n rounds, $bad bad"
}
rm -f done
verify & stress & clock &
wait
END
in_guest "$work" > "$dir/work" 2>&1 &
working=$!
started+=("$working")

here=(0 1 2)
failed=0
touch "$dir/said"
# The policy may have a vCPU on its way just then.
request() { # WORD…
  local try
  for try in 1 2 3 4 5; do
    ctl image "$@" >> "$dir/said" 2>&1 && return
    tail -n 1 "$dir/said" | grep -qE 'is on its way|asked to go elsewhere' || break
    sleep "0.$try"
  done
  failed=$((failed + 1))
  echo "      dvm-ctl $*: $(tail -n 1 "$dir/said")"
}
moved() { grep -c 'moved from' "$dir/said"; }
# Until there were so many; one that is asked to where it is already is none.
move_about() { # TIMES
  local until=$(($(moved) + $1)) tries=$((4 * $1))
  while [ "$(moved)" -lt "$until" ] && [ $((tries -= 1)) -gt 0 ]; do
    request migrate-vcpu $((RANDOM % 4)) --to "${here[RANDOM % ${#here[@]}]}"
  done
}
without() { # NODE
  local n
  here=()
  for n in 0 1 2; do [ "$n" = "$1" ] || here+=("$n"); done
}
used() { # NODE: has a vCPU, within 20 s
  local deadline=$((SECONDS + 20))
  while [ "$SECONDS" -lt "$deadline" ]; do
    ctl image status | awk -v n="$1" '/^[A-Z]/ { on = $1 == "VCPU" } on && $2 == n { found = 1 } END { exit !found }' && return
    sleep 0.5
  done
  ctl image why | tail -n 3
  return 1
}
# Half of the evacuated nodes stay for a while before they leave.
for ((round = 1; round <= rounds; ++round)); do
  move_about $((moves / rounds / 2))
  node=$((RANDOM % 3))
  without "$node"
  if [ $((round % 2)) = 0 ]; then request remove-node "$node"; else request evacuate "$node"; fi
  move_about $((moves / rounds / 2))
  [ $((round % 2)) = 0 ] || request remove-node "$node"
  request add-node
  used "$node" || fail "round $round: node $node came, and has no vCPU"
  here=(0 1 2)
  echo "      round $round of $rounds: $SECONDS s, $(moved) moves"
  in_guest true || fail "round $round: the guest answers"
done
check "the policy gave each node that came its first vCPU" \
  [ "$(ctl image why | grep -c 'has just come and has none')" -ge "$rounds" ]
check "every request was carried out" [ "$failed" = 0 ]
check "there were that many moves" [ "$(moved)" -ge $((moves / rounds / 2 * 2 * rounds)) ]
grep -oE 'still for [0-9]+' "$dir/said" | sort -k3n | awk '{ us[NR] = $3 }
  END { printf "      pauses: median %d us, p95 %d us, longest %d us\n", us[int((NR + 1) / 2)], us[int(NR * .95)], us[NR] }'

check "the guest is told to end its work" in_guest touch /root/done
check "it does" ends "$working" 120 0
sed 's/^/      | /' "$dir/work"
for part in FIO STRESS CLOCK; do
  check "$part: no wrong result" grep -qE "^$part [0-9]+ rounds, 0 bad" "$dir/work"
done
check "the kernel has nothing to complain of" no_complaints
check "no node died" [ "$(grep -c '"event":"node_died"' "$dir/events")" = 0 ]
check "dvm-ctl shutdown" ctl image shutdown
check "ends by itself with 0" ends "$run_pid" 90 0
check "nothing is left" nothing_left
done_testing
