#!/usr/bin/env bash
# A node is killed at each point on an exit's way, then nodes are killed at random, lose their power and hang, while
# the guest checks itself. Not part of tools/test, for its length:
#   tools/lab run --timeout 7200 -- tests/cluster/campaign_keeper.sh [KILLS [POWER_FAILURES [HANGS [SEED]]]]
# shellcheck disable=SC2154,SC2317 # run_pid is lib.sh's; functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cluster/fault_lib.sh
. tests/cluster/fault_lib.sh
# shellcheck source=tests/cluster/keeper_lib.sh
. tests/cluster/keeper_lib.sh
kills=${1:-200} powers=${2:-20} hangs=${3:-20} RANDOM=${4:-1}
points="vcpu.left vcpu.exited vcpu.injecting vcpu.injected exit.begun exit.done device.stepped device.published
  device.counted device.line_driven device.ioapic_posted device.msis_posted device.queue_served node.serves"

start_keep
check "works" wait_for keep WORKING 90 || exit 1
deaths=0
for point in $points; do
  next
  inject keep kill "$node" --at-point "$point:$((1 + RANDOM % 20))" || { fail "$point: $(cat "$dir/fault.err")"; continue; }
  comes_through point "$point" && ok "killed at $point" && deaths=$((deaths + 1))
done
for ((i = 0; i < kills; ++i)); do
  next
  sleep "0.$((RANDOM % 10))"
  kill -9 "$(pid_of "$node")"
  comes_through kill "$i" && deaths=$((deaths + 1))
  [ $((i % 20)) != 19 ] || echo "      $((i + 1)) kills, $SECONDS s"
done
for ((i = 0; i < hangs; ++i)); do
  next
  inject keep hang "$node" && comes_through hang "$i" && deaths=$((deaths + 1))
done
for ((i = 0; i < powers; ++i)); do
  next
  inject keep power-fail "$node" && comes_through power-failure "$i"
done
ends_well
check "every death is told" told keep node_recovered '"vcpus":' "$deaths"
tell_pauses
done_testing
