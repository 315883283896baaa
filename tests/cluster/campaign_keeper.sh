#!/usr/bin/env bash
# A node is killed at each point on an exit's way, then nodes are killed at random, hang, are killed two at once, and lose
# their power, while the guest checks itself. Not part of tools/test, for its length:
#   tools/lab run --timeout 7200 -- tests/cluster/campaign_keeper.sh [KILLS [POWER_FAILURES [HANGS [PAIRS [SEED]]]]]
# shellcheck disable=SC2154,SC2317 # run_pid is lib.sh's; functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cluster/fault_lib.sh
. tests/cluster/fault_lib.sh
# shellcheck source=tests/cluster/keeper_lib.sh
. tests/cluster/keeper_lib.sh
kills=${1:-200} powers=${2:-20} hangs=${3:-20} pairs=${4:-20} RANDOM=${5:-1}
points="vcpu.left:1 vcpu.exited:1 vcpu.injecting:1 vcpu.injected:1 exit.begun:1 exit.done:1 device.stepped:1
  device.published:1 device.counted:1 device.line_driven:1 device.ioapic_posted:1 device.msis_posted:1
  device.queue_served:1 node.serves:1"

start_keep
check "works" wait_for keep WORKING 90 || exit 1
# shellcheck disable=SC2086 # words
let_nodes_die $points "kill:$kills" "hang:$hangs" "pair:$pairs" "power-failure:$powers"
! ended || exit 1
ends_well
check "every death is told" told keep node_recovered '"vcpus":' $((14 + kills + hangs + 2 * pairs))
tell_pauses
done_testing
