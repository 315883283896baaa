#!/usr/bin/env bash
# A Debian boots from a cold disk, shuts down, and boots again on a new machine with the warm list that it left: what its
# disk is asked for, before and after.
#   tools/lab run --timeout 900 --disk IMAGE --memory 5G -- tests/cluster/campaign_warm.sh
# shellcheck disable=SC2154 # run_pid is lib.sh's
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck disable=SC2034 # image_lib.sh's
image_patience=300
# shellcheck source=tests/cluster/image_lib.sh
. tests/cluster/image_lib.sh
# shellcheck source=tests/cluster/reboot_lib.sh
. tests/cluster/reboot_lib.sh

for boot in cold warm; do
  rm -f "$dir/image.in"
  began=$SECONDS
  start_image --srt-warm "$dir/list"
  check "$boot: a login prompt" wait_for image "login:" 400 || exit 1
  check "$boot: systemd says running" image_runs || exit 1
  echo "      $boot: up after $((SECONDS - began)) s; reads: $(srt 's["reads"]'), of the disk: $(disk_reads)"
  [ "$boot" = warm ] || cold=$(disk_reads)
  [ "$boot" = cold ] || check "a twentieth of the cold boot's at most" [ $(($(disk_reads) * 20)) -le "$cold" ]
  ctl image srt | sed 's/^/      | /'
  check "$boot: dvm-ctl shutdown" ctl image shutdown
  check "$boot: ends by itself with 0" ends "$run_pid" 90 0
done
done_testing
