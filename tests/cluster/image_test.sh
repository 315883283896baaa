#!/usr/bin/env bash
# long
# lab: --disk DEBIAN --memory 5G
# A Debian disk through SeaBIOS and GRUB: 4 vCPUs over 2 nodes, disk and network, to a login, over ssh,
# and an orderly end. tools/test gives the lab the image as DVM_LAB_DISK, and throws away what is written.
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cluster/image_lib.sh
. tests/cluster/image_lib.sh

mkdir "$dir/www" && head -c 3000000 /dev/urandom > "$dir/www/package"
(cd "$dir/www" && exec python3 -m http.server 8080 --bind 127.0.0.1 > /dev/null 2>&1) &
started+=($!)

start_image
check "a login prompt" wait_for image "login:" 360 || { ctl image status; exit 1; }
check "by way of SeaBIOS" grep -q SeaBIOS "$dir/image.out"

check "systemd says running" image_runs
check "its clock is the TSC" [ "$(in_guest cat /sys/devices/system/clocksource/clocksource0/current_clocksource)" = tsc ]
check "4 vCPUs" [ "$(in_guest nproc)" = 4 ]
check "a download from the host is whole" \
  [ "$(in_guest 'curl -s http://10.0.2.2:8080/package | sha256sum')" = "$(sha256sum < "$dir/www/package")" ]
check "fio finds what it wrote" in_guest 'fio --name=v --directory=/root --size=8m --rw=randwrite --bs=4k --numjobs=4 \
  --fsync=64 --verify=crc32c --do_verify=1 --group_reporting > /tmp/fio 2>&1 || { cat /tmp/fio; false; }'
check "the kernel has nothing to complain of" no_complaints
check "dvm-ctl shutdown" ctl image shutdown
check "ends by itself with 0" ends "$run_pid" 90 0
check "nothing is left" nothing_left
[ "$failures" = 0 ] || tail -n 40 "$dir/image.out" | sed 's/^/      | /'
done_testing
