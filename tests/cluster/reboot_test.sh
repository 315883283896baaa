#!/usr/bin/env bash
# long
# lab: --disk DEBIAN --memory 5G
# A Debian over two nodes panics, and is back by itself with next to nothing read from its disk, each time; in the
# second of its reboots a node dies.
#   tools/lab run --timeout 1500 --disk IMAGE --memory 5G -- tests/cluster/reboot_test.sh [PANICS]
# shellcheck disable=SC2154,SC2317 # run_pid is lib.sh's; functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
image_patience=300
# shellcheck source=tests/cluster/image_lib.sh
. tests/cluster/image_lib.sh
# shellcheck source=tests/cluster/fault_lib.sh
. tests/cluster/fault_lib.sh
# shellcheck source=tests/cluster/reboot_lib.sh
. tests/cluster/reboot_lib.sh
panics=${1:-2}

start_image --protect flush --balloon --events "$dir/image.events"
check "a login prompt" wait_for image "login:" 600 || exit 1
check "systemd says running" image_runs || exit 1
cold_disk=$(disk_reads)
cold_all=$(srt 's["reads"]')
echo "      cold boot: $cold_all reads, $cold_disk of the disk"

for ((n = 1; n <= panics; ++n)); do
  before=$(disk_reads)
  before_all=$(srt 's["reads"]')
  boot=$(boots)
  began=$SECONDS
  in_guest 'sync; echo c > /proc/sysrq-trigger' &
  started+=("$!")
  if [ "$n" = 2 ]; then # a node dies while it is on its way
    for ((i = 0; i < 300; ++i)); do [ "$(boots)" = "$boot" ] || break; sleep 0.1; done
    sleep 2
    check "a node is killed in the middle" inject image kill 1
  fi
  check "panic $n: it comes back by itself" back $((boot + 1)) || exit 1
  disk=$(($(disk_reads) - before))
  echo "      back after $((SECONDS - began)) s: $(($(srt 's["reads"]') - before_all)) reads, $disk of the disk"
  # The goal is 5 %, and dvm-bench reboot's to tell: a busy host's guest reads more, as its journal is longer.
  check "at most a tenth of the cold boot's reads are of the disk" [ $((disk * 10)) -le "$cold_disk" ]
  [ "$n" != 2 ] || ctl image add-node > /dev/null
done
kept=$(srt 's["freed_kept"]')
in_guest 'cat /usr/bin/* > /dev/null; echo 3 > /proc/sys/vm/drop_caches; sleep 8'
check "what lay in pages that the guest freed stays" [ "$(srt 's["freed_kept"]')" -gt "$kept" ]
ctl image srt | sed 's/^/      | /'
check "every reset took less than a second" reset_times 1000
check "the kernel has nothing to complain of" no_complaints
check "dvm-ctl shutdown" ctl image shutdown
check "ends by itself with 0" ends "$run_pid" 90 0
check "its root file system is clean" root_is_clean
done_testing
