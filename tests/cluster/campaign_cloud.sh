#!/usr/bin/env bash
# cloud-init in a Debian over two nodes takes its user, key, name and command from a NoCloud seed. Not part of
# tools/test, for its length; IMAGE is what `tools/guest-files disk --packages cloud-init,sudo` prints:
#   tools/lab run --timeout 900 --disk IMAGE --memory 5G -- tests/cluster/campaign_cloud.sh
# shellcheck disable=SC2317 # functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cluster/image_lib.sh
. tests/cluster/image_lib.sh

ssh-keygen -q -y -f "$key" > "$dir/key.pub"
check "the seed is made" test "$(guest/make-seed --user mallory --key "$dir/key.pub" --hostname cloudy \
  --run 'echo seeded > /root/seeded' "$dir/seed")" = "$dir/seed"
start_image --disk "$dir/seed,readonly=on"
check "a login prompt, with the seed's name" wait_for image "cloudy login:" 600
# Asked for again, as sshd may start before the keys are there.
as_user() { guest_user=mallory in_guest "$@"; }
done_with_it() {
  local deadline=$((SECONDS + 400))
  while [ "$SECONDS" -lt "$deadline" ]; do
    [[ $(as_user cloud-init status 2> /dev/null) == *"status: done"* ]] && return
    sleep 2
  done
  as_user 'cloud-init status --long; systemctl list-jobs' 2>&1 | sed 's/^/      | /'
  return 1
}
check "cloud-init is done, says the seed's user" done_with_it
is() { [ "$2" = "$3" ] || { echo "      $1 is '$2'"; return 1; }; }
check "who is root by sudo, without a password" is "the user" "$(as_user sudo id -un)" root
check "the name" is "the name" "$(as_user hostname)" cloudy
check "the command has run" is "what it wrote" "$(as_user sudo cat /root/seeded)" seeded
check "the kernel has nothing to complain of" no_complaints
check "dvm-ctl shutdown" ctl image shutdown
check "ends by itself with 0" ends "$run_pid" 90 0
check "nothing is left" nothing_left
done_testing
