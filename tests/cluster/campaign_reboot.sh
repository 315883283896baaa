#!/usr/bin/env bash
# A Debian over two nodes panics again and again, in the middle of writes: what it was told is flushed is there when it
# is back, no block holds what was never written to it, and what it reads of a disk is what the disk holds.
# Not part of tools/test, for its length:
#   tools/lab run --timeout 7200 --disk IMAGE --memory 5G -- tests/cluster/campaign_reboot.sh [PANICS [SEED]]
# shellcheck disable=SC2154,SC2317,SC2016 # run_pid is lib.sh's; functions that check calls; what eval expands
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
image_patience=300
# shellcheck source=tests/cluster/image_lib.sh
. tests/cluster/image_lib.sh
# shellcheck source=tests/cluster/reboot_lib.sh
. tests/cluster/reboot_lib.sh
panics=${1:-20} RANDOM=${2:-1}
truncate -s 8M "$dir/verified.img"
start_image --protect flush --events "$dir/image.events" --disk "$dir/verified.img"
check "a login prompt" wait_for image "login:" 600 || exit 1
check "systemd says running" image_runs || exit 1
cold_disk=$(disk_reads)
in_guest 'cat > /root/block_witness.py; sync' < tests/cluster/block_witness.py
: > "$dir/told"
# Nothing told is missing: the last version that was told of each block, or a later one, is there.
none_lost() {
  awk 'NR == FNR { there[$1] = $2; next } { told[$1] = $2 }
       END { for (n in told) if (there[n] < told[n]) { print "      block " n ": " there[n] ", told " told[n]; bad = 1 }
             exit bad }' "$1" "$dir/told"
}
same_as_disk() { # the whole disk as the guest reads it, its own cache dropped, and as it is
  local seen
  seen=$(in_guest 'echo 3 > /proc/sys/vm/drop_caches; sha256sum < /dev/vdb')
  [ "$seen" = "$(sha256sum < "$dir/verified.img")" ]
}
sum=0
for ((n = 1; n <= panics; ++n)); do
  boot=$(boots)
  in_guest "python3 /root/block_witness.py write /dev/vdb $n" >> "$dir/told" 2> /dev/null &
  started+=("$!")
  # What is written over and over is in the page cache too; a second reader has the table at work.
  in_guest 'fio --name=r --filename=/dev/vdb --readonly --rw=randread --bs=4k --direct=1 --time_based --runtime=60' > /dev/null 2>&1 &
  started+=("$!")
  sleep "$((3 + RANDOM % 6)).$((RANDOM % 10))"
  before=$(disk_reads)
  in_guest 'echo c > /proc/sysrq-trigger' > /dev/null 2>&1 &
  started+=("$!")
  check "panic $n of $panics: it comes back by itself" back $((boot + 1)) || exit 1
  disk=$(($(disk_reads) - before))
  sum=$((sum + disk))
  echo "      $disk reads of the disk, of a cold boot's $cold_disk; told so far: $(wc -l < "$dir/told") blocks"
  check "no block is torn" eval 'in_guest python3 /root/block_witness.py read /dev/vdb > "$dir/there"'
  check "none that was told to be flushed is lost" none_lost "$dir/there"
  check "the guest reads what the disk holds" same_as_disk
done
echo "      $((sum / panics)) reads of the disk for a reboot on average, $((100 * sum / panics / cold_disk)) % of a cold boot's"
ctl image srt | sed 's/^/      | /'
reset_times 50 || true
check "the kernel has nothing to complain of" no_complaints
check "dvm-ctl shutdown" ctl image shutdown
check "ends by itself with 0" ends "$run_pid" 90 0
check "its root file system is clean" root_is_clean
done_testing
