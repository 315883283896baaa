#!/usr/bin/env bash
# long
# --srt-warm: what a guest reads from its disks, raw and qcow2, a later machine reads ahead of it over two nodes, and the
# guest gets it without its disks; a node dies meanwhile; a list that is damaged is said and left out.
# shellcheck disable=SC2154,SC2317 # run_pid is lib.sh's; functions that check calls
. "$(dirname "$0")/lib.sh"

for disk in a b; do yes "disk $disk, and so on, line after line" | nl | head -c 33554432 > "$dir/$disk.raw"; done
qemu-img convert -f raw -O qcow2 "$dir/b.raw" "$dir/b.qcow2"
# Here and there, 8 MiB of each; after a while, as a boot is not all reading.
script='
sleep 5
for d in vda vdb; do
  for at in 24 3 17 8; do dd if=/dev/$d bs=1M skip=$at count=2 2>/dev/null | md5sum | cut -c 1-8 | sed "s/^/SUM $d $at /"; done
done
echo READ-DONE
read -r line
'
begin() { # NAME
  start "$1" "$script" --nodes 2 --cpus 2 --memory 512M --protect flush --disk "$dir/a.raw" \
    --disk "$dir/b.qcow2,format=qcow2" --srt-warm "$dir/list"
}
srt() { ctl "$1" --json srt | python3 -c "import json, sys; s = json.load(sys.stdin); print($2)"; }
shut_down() { # NAME
  echo >&"$console_in"
  check "$1 ends by itself" ends "$run_pid" 60 0
}
sums() { grep -oE 'SUM [a-z0-9 ]+' "$dir/$1.out" | sort; }

begin cold
check "a guest reads its disks" wait_for cold READ-DONE 200 || exit 1
check "nothing is read ahead of the first" [ "$(srt cold 's["warm"]["state"]')" = off ]
asked=$(srt cold 's["reads"] - s["reads_served"]')
check "dvm-ctl srt --blocks tells what it wanted" grep -qE '^run 1 [0-9]+ ' <(ctl cold srt --blocks)
shut_down cold
check "the list is there" grep -q '^sum ' "$dir/list"
sums cold > "$dir/sums"
check "there are sums" [ "$(wc -l < "$dir/sums")" = 8 ]

begin warm
check "a later one reads them" wait_for warm READ-DONE 200 || exit 1
ctl warm srt | sed 's/^/      | /'
check "all was read ahead" [ "$(srt warm 's["warm"]["state"]')" = "done" ]
check "4096 blocks and more" [ "$(srt warm 's["warm"]["blocks"]')" -ge 4096 ]
check "most of them were asked for" [ "$(srt warm 's["warm"]["blocks_used"] * 10 >= s["warm"]["blocks"] * 9')" = True ]
echo "      reads of the disks: $asked cold; warm: $(srt warm 's["reads"] - s["reads_served"]') and $(srt warm 's["warm"]["reads"]') ahead"
check "at most a tenth of the reads are of the disks" [ "$(srt warm '(s["reads"] - s["reads_served"]) * 10 <= s["reads"]')" = True ]
check "the guest read the same" diff "$dir/sums" <(sums warm)
shut_down warm

begin death
for ((i = 0; i < 600; ++i)); do [ "$(srt death 's["warm"]["runs_seen_to"]' 2> /dev/null || echo 0)" = 0 ] || break; sleep 0.05; done
kill -9 "$(ctl death --json status | python3 -c 'import json, sys; print(json.load(sys.stdin)["nodes"][0]["pid"])')"
check "one whose node dies meanwhile reads them" wait_for death READ-DONE 200 || exit 1
check "it read the same" diff "$dir/sums" <(sums death)
check "the list was seen to" [ "$(srt death 's["warm"]["state"]')" = "done" ]
shut_down death

head -c 200 "$dir/list" > "$dir/short" && mv "$dir/short" "$dir/list"
begin damaged
check "a damaged list is said" wait_for damaged "nothing is read ahead: .*: cut off" 10
check "the guest runs without" wait_for damaged READ-DONE 200 || exit 1
check "it read the same" diff "$dir/sums" <(sums damaged)
shut_down damaged
check "and leaves a whole list" grep -q '^sum ' "$dir/list"
done_testing
