#!/usr/bin/env bash
# A page of RAM goes bad: the guest's kernel takes it out of use, who reads it gets SIGBUS, all else goes on.
# shellcheck disable=SC2016,SC2317 # what the guest is to expand; functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

corrupted='grep HardwareCorrupted /proc/meminfo'
# The cloud kernel knows where errors are told, and not how to take a page out of use.
kernel=amd64 start bad "bad_page; $corrupted; dmesg | grep 'Memory failure'; echo AGAIN; read -r go; $corrupted; reboot -f" \
  --nodes 2 --cpus 2 --memory 256M --events "$dir/events"
check "a program says where its page is" wait_for bad 'bad_page: at 0x' 60
address=$(sed -n 's/.*bad_page: at \(0x[0-9a-f]*\).*/\1/p' "$dir/bad.out")
check "the page goes bad" build/bin/dvm-fault --name bad corrupt page "$address"
check "its reader gets SIGBUS" wait_for bad 'bad_page: ok SIGBUS' 30
check "the guest goes on" wait_for bad AGAIN 30
check "one page is out of use" grep -qE 'HardwareCorrupted: +4 kB' "$dir/bad.out"
check "and the kernel says so" grep -qE 'Memory failure: 0x[0-9a-f]+: .*Recovered' "$dir/bad.out"
check "it is an event" grep -q "\"address\":$((address)),\"event\":\"fault_injected\"" "$dir/events"
check "the status counts it" grep -q '^1 page of RAM gone bad, 0 of them' <(ctl bad status)
ctl bad metrics > "$dir/metrics"
check "so do the metrics" grep -q '^dvm_bad_pages{.*} 1$' "$dir/metrics"
check "so does JSON" grep -q '"bad_pages":{"not_taken":0,"reported":1}' <(ctl bad --json status)

# Free pages, some of them reported while another waits.
for ((i = 1; i <= 5; ++i)); do build/bin/dvm-fault --name bad corrupt page $((0x8000000 + i * 0x100000)) > /dev/null; done
check "five more are taken" grep -q '^6 pages of RAM gone bad, 0 of them' <(sleep 2; ctl bad status)
echo go >&"$console_in"
for ((i = 0; i < 300; ++i)); do [ "$(count bad 'bad_page: at')" = 2 ] && break; sleep 0.1; done
check "reboot" [ "$(count bad 'bad_page: at')" = 2 ]
check "they were out of use" grep -qE 'HardwareCorrupted: +(8|12|16|20|24) kB' "$dir/bad.out"
check "and are repaired" grep -q '"bad_pages":{"not_taken":0,"reported":0}' <(ctl bad --json status)
kill "$run_pid"; sleep 0.2; kill "$run_pid"
check "ends" ends "$run_pid" 10 0
check "nothing is left" nothing_left
done_testing
