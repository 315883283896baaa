#!/usr/bin/env bash
# Boots a sample of kernels × nodes × vCPUs × placements in which every pair of values comes up, as far as
# --count allows. Runs on the build machine: each boot has a lab host of its own, two at a time.
# usage: tools/test campaign boot --count N [--seed S]
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=${DVM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dvm}
count=20 seed=1
while [ $# -gt 0 ]; do
  case $1 in
    --count) count=$2 ;;
    --seed) seed=$2 ;;
    *) echo "usage: tools/test campaign boot --count N [--seed S]" >&2; exit 64 ;;
  esac
  shift 2
done
echo "campaign boot: $count boots, seed $seed"

# Rows that cover the pairs best among random ones: for each row, of 40 candidates the one with the most
# pairs not yet seen.
sample() {
  awk -v count="$count" -v seed="$seed" '
    function pick(list,   a, n) { n = split(list, a, " "); return a[int(rand() * n) + 1] }
    BEGIN {
      srand(seed)
      for (r = 0; r < count; r++) {
        best = -1
        for (c = 0; c < 40; c++) {
          row = pick("cloud amd64 backports") " " pick("1 2 4") " " pick("1 2 3 4 5 6 7 8") " " pick("blocks stripes random last")
          split(row, f, " "); fresh = 0
          for (i = 1; i < 4; i++) for (j = i + 1; j <= 4; j++) fresh += !((i, f[i], j, f[j]) in seen)
          if (fresh > best) { best = fresh; chosen = row }
        }
        split(chosen, f, " ")
        for (i = 1; i < 4; i++) for (j = i + 1; j <= 4; j++) seen[i, f[i], j, f[j]] = 1
        list = ""
        for (v = 0; v < f[3]; v++) {
          if (f[4] == "blocks") n = int(v * f[2] / f[3])
          else if (f[4] == "stripes") n = v % f[2]
          else if (f[4] == "random") n = int(rand() * f[2])
          else n = f[2] - 1
          list = list (v ? "," : "") n
        }
        print f[1], f[2], f[3], list
      }
    }'
}

one() { # KERNEL NODES CPUS PLACEMENT
  local out
  out=$(tools/lab run --timeout 120 -- build/bin/dvm-run --kernel "$cache/kernels/$1/vmlinuz" \
    --initrd "$cache/initramfs-$1.cpio" --nodes "$2" --cpus "$3" --placement "$4" \
    --append "console=ttyS0 quiet dvm.script64=$(base64 -w0 <<< 'echo "CPUS $(nproc)"')" < /dev/null 2>&1) || true
  if grep -q "^CPUS $3" <<< "$out" && grep -q "^DVM-EXIT 0" <<< "$out"; then
    echo "ok    $1, $2 nodes, $3 vCPUs, placement $4: $(sed -n 's/^DVM-USERSPACE \([0-9.]*\).*/\1 s/p' <<< "$out")"
  else
    echo "FAIL  $1, $2 nodes, $3 vCPUs, placement $4"
    tail -n 15 <<< "$out" | sed 's/^/      | /'
  fi
}
export -f one
export cache

log=$(mktemp)
trap 'rm -f "$log"' EXIT
sample | xargs -P 2 -L 1 bash -c 'one "$@"' one | tee "$log"
passed=$(grep -c '^ok' "$log" || true)
failed=$(grep -c '^FAIL' "$log" || true)
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
