#!/usr/bin/env bash
# The guest scripts' command lines, and what a seed has in it. Builds no image. Run in the source tree.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

check() { # NAME GOT WANTED
  [ "$2" = "$3" ] || { echo "FAIL $1: got '$2', wanted '$3'"; failed=1; }
}
# refused CODE WORDS COMMAND…: exit code CODE, one line with WORDS in it, nothing on standard output.
refused() {
  local code=0 wanted=$1 words=$2
  shift 2
  DVM_CACHE=$work/cache "$@" > "$work/out" 2> "$work/err" || code=$?
  check "exit code of $*" "$code" "$wanted"
  check "lines of $*" "$(wc -l < "$work/err")" 1
  check "output of $*" "$(wc -c < "$work/out")" 0
  grep -qF -e "$words" "$work/err" || { echo "FAIL $*: no '$words' in: $(cat "$work/err")"; failed=1; }
}
inside() { isoinfo -R -i "$work/seed" -x "/$1"; }

image=guest/make-disk-image
for size in 0 512M 1 1T 1.5G -1G 2000G 99999999G; do refused 64 "--size $size" "$image" --size "$size"; done
refused 64 "--kernel pvh" "$image" --kernel pvh
# shellcheck disable=SC2016 # that is the point
refused 64 "--packages" "$image" --packages 'a,$(id)'
refused 64 "--packages" "$image" --packages -y
refused 64 "--hostname" "$image" --hostname 'a b'
refused 64 "--append" "$image" --append 'a|b'
refused 64 "--size needs" "$image" --size
refused 64 "unknown option --nothing" "$image" --nothing
check "make-disk-image --help" "$("$image" --help | head -n 1)" NAME
check "nothing half made" "$(ls "$work/cache" 2> /dev/null)" ""

seed=guest/make-seed
echo 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAabc me@here' > "$work/key"
refused 64 "no OUT" "$seed"
refused 64 "more than one OUT" "$seed" "$work/a" "$work/b"
refused 64 "--user" "$seed" --user 'Root!' "$work/seed"
refused 64 "--hostname" "$seed" --hostname '-a' "$work/seed"
refused 64 "control character" "$seed" --run $'a\x01' "$work/seed"
refused 64 "instead of" "$seed" --user a --user-data "$work/key" "$work/seed"
refused 64 "instead of" "$seed" --run a --user-data "$work/key" "$work/seed"
refused 1 "cannot be read" "$seed" --user-data "$work/none" "$work/seed"
refused 1 "cannot be read" "$seed" --key "$work/none" "$work/seed"
refused 1 "not one line" "$seed" --key "$seed" "$work/seed"
check "no seed made" "$(ls "$work"/seed* 2> /dev/null)" ""

run=$'echo "a\\b" \'c\' # é\n\techo $HOME: [x]'
check "make-seed prints its output" "$("$seed" --user tester --key "$work/key" --hostname box --run true --run "$run" \
  "$work/seed")" "$work/seed"
check "label" "$(isoinfo -d -i "$work/seed" | sed -n 's/^Volume id: //p')" CIDATA
check "first line" "$(inside user-data | head -n 1)" "#cloud-config"
inside user-data > "$work/user-data"
inside meta-data > "$work/meta-data"
python3 - "$work" "$run" <<'P' || failed=1
import json, sys
work, run = sys.argv[1:]
user, meta = (json.loads(open(f"{work}/{name}").read().removeprefix("#cloud-config\n"))
              for name in ("user-data", "meta-data"))
assert user["users"][0]["name"] == "tester", user
assert user["users"][0]["ssh_authorized_keys"] == [open(f"{work}/key").read().strip()], user
assert user["runcmd"] == [["sh", "-c", "true"], ["sh", "-c", run]], user
assert user["hostname"] == meta["local-hostname"] == "box", meta
P
first=$(inside meta-data)
"$seed" --user other "$work/seed" > /dev/null
check "other contents, another instance" "$([ "$first" != "$(inside meta-data)" ] && echo yes)" yes
echo '#!/bin/sh' > "$work/script"
"$seed" --user-data "$work/script" "$work/seed" > /dev/null
check "--user-data as it is" "$(inside user-data)" '#!/bin/sh'

truncate -s 64M "$work/sparse"
echo text | dd of="$work/sparse" bs=1 seek=1000000 conv=notrunc status=none
guest/copy-image "$work/sparse" "$work/copy"
check "a copy is the same" "$(cmp "$work/sparse" "$work/copy" && echo same)" same
check "a copy is sparse" "$(($(du -k "$work/copy" | cut -f1) < 1024))" 1
refused 64 "usage" guest/copy-image "$work/sparse"
exit "$failed"
