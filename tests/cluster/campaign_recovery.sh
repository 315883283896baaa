#!/usr/bin/env bash
# Nodes of a Debian over three nodes are killed, hang and lose their power, while fio verifies a disk, a TCP session
# through a tap counts up, stress-ng verifies memory, an SQLite database commits and tells each commit outside, and
# clocks are checked. Nothing may be lost, repeated or broken. Not part of tools/test, for its length:
#   tools/lab run --timeout 7200 --disk IMAGE --memory 5G --modules tun -- \
#     tests/cluster/campaign_recovery.sh [KILLS [HANGS [POWER_FAILURES [HOSTS [SEED]]]]]
# HOSTS: times that a node's keeper is killed with it, for which the guest runs with --protect epoch instead of flush.
# LOSSES (0), of the environment: times that all processes are killed at once, and dvm-run --resume goes on from the pool.
# shellcheck disable=SC2034,SC2154,SC2317 # what image_lib.sh reads; run_pid is lib.sh's; functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
image_net=tap=tap0 image_at=192.0.2.2 image_nodes=3 image_patience=1800 kept=image
# shellcheck source=tests/cluster/image_lib.sh
. tests/cluster/image_lib.sh
# shellcheck source=tests/cluster/fault_lib.sh
. tests/cluster/fault_lib.sh
# shellcheck source=tests/cluster/keeper_lib.sh
. tests/cluster/keeper_lib.sh
kills=${1:-20} hangs=${2:-3} powers=${3:-5} hosts=${4:-0} RANDOM=${5:-1}
protect=flush
losses=${LOSSES:-0} pool=()
[ "$hosts$losses" = 00 ] || protect=epoch
[ "$losses" = 0 ] || pool=(--pool "$dir/pool")

ip tuntap add tap0 mode tap && ip addr add 192.0.2.1/24 dev tap0 && ip link set tap0 up
printf '%s\n' 'start 192.0.2.2' 'end 192.0.2.2' 'interface tap0' 'opt subnet 255.255.255.0' "lease_file $dir/leases" \
  "pidfile $dir/dhcp.pid" > "$dir/dhcp"
touch "$dir/leases"
busybox udhcpd -f "$dir/dhcp" 2> "$dir/dhcp.err" &
disown
started+=("$!")
truncate -s 32M "$dir/verified.img"
booting=(--protect flush --events "$dir/image.events")
[ $protect = flush ] || booting=() # under emulation a boot with epochs takes half an hour: they begin after it
start_image "${booting[@]}" --disk "$dir/verified.img"
look_every=3 # it takes minutes, and under emulation each look takes of the guest's time
# Not the login prompt: on a busy host systemd gives up waiting for the serial port before udev has come to it.
check "systemd says running" image_runs || exit 1
python3 tests/cluster/outside_witness.py 192.0.2.1 7101 7102 "$dir/ledger" > "$dir/outside" 2>&1 &
outside=$!
started+=("$outside")

check "its programs are there" in_guest 'cat > /root/clock_check; chmod +x /root/clock_check' \
  < "$cache/programs/clock_check"
check "all of them" in_guest 'cat > /root/guest_witness.py' < tests/cluster/guest_witness.py
# Until it is told to end; each part says how it went.
read -r -d '' work << 'END'
cd /root
again() { # NAME CMD…
  local name=$1 n=0 bad=0
  shift
  while [ ! -e done ]; do
    n=$((n + 1))
    "$@" > "$name.out" 2>&1 || { bad=$((bad + 1)); cat "$name.out"; }
  done
  echo "$name $n rounds, $bad bad"
}
verify() {
  fio --name=v --filename=/dev/vdb --size=24M --bs=16k --rw=randwrite --ioengine=libaio --iodepth=4 --direct=1 \
    --verify=crc32c --verify_fatal=1
}
stress() {
  stress-ng --verify --timeout 15s --vm 2 --vm-bytes 48M --vm-method all --futex 1 && ! grep -iE 'stress-ng: (fail|error)' STRESS.out
}
clock() { ./clock_check --seconds 5 && sleep 5; }
rm -f done
again FIO verify & again STRESS stress & again CLOCK clock &
python3 guest_witness.py count 192.0.2.1 7101 &
python3 guest_witness.py ledger 192.0.2.1 7102 /root/entries.db &
wait
END
in_guest "$work" > "$dir/work" 2>&1 &
working=$!
started+=("$working")
told_so_far() { if [ -e "$dir/ledger" ]; then wc -l < "$dir/ledger"; else echo 0; fi; }
all_work() { # [SECONDS]: the database gets on
  local until=$((SECONDS + ${1:-300})) before
  before=$(told_so_far)
  while [ "$SECONDS" -lt "$until" ]; do
    [ "$(told_so_far)" -gt $((before + 2)) ] && return
    sleep 0.5
  done
  return 1
}
check "the guest works" all_work 1200 || { tail -n 20 "$dir/work"; exit 1; }
if [ $protect = epoch ]; then
  check "saved at work" ctl image checkpoint "$dir/working" --stop || exit 1
  check "with 0" ends "$run_pid" 30 0
  build/bin/dvm-run --resume "$dir/working" --nodes 3 --protect epoch "${pool[@]}" --events "$dir/image.events" \
    < "$dir/image.in" >> "$dir/image.out" 2>> "$dir/image.err" &
  run_pid=$!
  started+=("$run_pid")
  check "goes on from there, with epochs" all_work 600 || { tail -n 5 "$dir/image.err"; exit 1; }
fi

[ $((kills + hangs + powers + hosts)) = 0 ] ||
  let_nodes_die --grows "$dir/ledger" "kill:$kills" "hang:$hangs" "power-failure:$powers" "host:$hosts"
! ended || exit 1
for ((n = 1; n <= losses; ++n)); do
  sleep "$((RANDOM % 5)).$((RANDOM % 10))"
  mapfile -t all < <(pgrep '^dvm-(run|node|net|fabric|keeper)')
  kill -9 "${all[@]}"
  wait "$run_pid"
  build/bin/dvm-run --resume "$dir/pool" < "$dir/image.in" >> "$dir/image.out" 2>> "$dir/image.err" &
  run_pid=$!
  started+=("$run_pid")
  check "all lost, and on from the pool, $n of $losses" all_work || { tail -n 5 "$dir/image.err"; exit 1; }
done
ssh_patience=300 # of a guest that is busy, is protected, and is emulated twice over
told_to_end() {
  local i
  for ((i = 0; i < 3; ++i)); do in_guest touch /root/done && return; done
  return 1
}
check "the guest is told to end its work" told_to_end
check "it does" ends "$working" 400 0
sed 's/^/      | /' "$dir/work"
for part in FIO STRESS CLOCK; do
  check "$part: no wrong result" grep -qE "^$part [0-9]+ rounds, 0 bad" "$dir/work"
done
check "COUNT: none lost or repeated, as the guest sees it" grep -qE '^COUNT [0-9]+ numbers, 0 bad' "$dir/work"
check "LEDGER: the database is whole" grep -qE '^LEDGER [0-9]+ entries, 0 bad' "$dir/work"
kill -TERM "$outside" && wait "$outside"
sed 's/^/      | /' "$dir/outside"
check "COUNT: nor as it is seen outside, on one session" grep -qE '^COUNT [0-9]+ numbers on 1 sessions, 0 bad' "$dir/outside"
check "both count the same" [ "$(grep -oE '^COUNT [0-9]+' "$dir/work")" = "$(grep -oE '^COUNT [0-9]+' "$dir/outside")" ]
in_guest cat /root/table > "$dir/table"
check "what was told of $(told_so_far) commits is in the database, and nothing else" cmp "$dir/ledger" "$dir/table"
check "the kernel has nothing to complain of" no_complaints
check "every death is told" told image node_recovered '"vcpus":' $((kills + hangs))
tell_pauses
check "dvm-ctl shutdown" ctl image shutdown
check "ends by itself with 0" ends "$run_pid" 90 0
check "nothing is left" nothing_left
check "its root file system is clean" root_is_clean
done_testing
