#!/usr/bin/env bash
# What keeping the replica table costs a workload of many small files, on a Debian over two nodes: it copies a tree of
# its own, reads it, and removes it, with --srt on and off by turns. (fio's patterns: dvm-bench disk --peer srt-off.)
#   tools/lab run --timeout 3600 --disk IMAGE --memory 5G -- tests/cluster/campaign_srt_cost.sh [ROUNDS]
# shellcheck disable=SC2154,SC2317,SC2016 # run_pid is lib.sh's; functions that check calls; what the guest expands
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
image_patience=300
# shellcheck source=tests/cluster/image_lib.sh
. tests/cluster/image_lib.sh
rounds=${1:-3}
# Seconds of the guest's time, for each of three passes.
work='cd /root; files=/usr/share; find $files -type f | wc -l >&2
for i in 1 2 3; do
  sync; echo 3 > /proc/sys/vm/drop_caches
  begin=$(date +%s.%N)
  cp -a $files copy && sync && find copy -type f -print0 | xargs -0 cat > /dev/null && rm -rf copy && sync
  echo "$begin $(date +%s.%N)"
done | awk "{ print \$2 - \$1 }"'
: > "$dir/times"
for ((n = 1; n <= rounds; ++n)); do
  for srt in on off; do
    start_image --srt $srt
    check "round $n, --srt $srt: it runs" image_runs || exit 1
    in_guest "$work" 2> "$dir/files" | sed "s/^/$srt $n /" | tee -a "$dir/times" | sed 's/^/      /'
    ctl image stop > /dev/null
    ends "$run_pid" 60 0 || true
    rm -f "$dir/image.in"
  done
done
check "it costs at most 3 %" python3 -c '
import statistics, sys
rows = [line.split() for line in open(sys.argv[1])]
def of(srt, n): return statistics.median(float(t) for s, r, t in rows if s == srt and r == n)
ratios = [of("on", n) / of("off", n) for n in sorted({r for _, r, _ in rows})]
print("      on to off:", ", ".join(f"{r:.3f}" for r in ratios), "median", f"{statistics.median(ratios):.3f}")
sys.exit(statistics.median(ratios) > 1.03)' "$dir/times"
done_testing
