# Sourced after lib.sh by the tests that boot a Debian disk (DVM_LAB_DISK, which tools/lab gives): starts it
# through SeaBIOS over two nodes, and runs commands in it over ssh.
# shellcheck shell=bash disable=SC2154 # dir and cache are lib.sh's
key=$dir/key
install -m 600 "$cache/disks/id_ed25519" "$key"
image_net=${image_net:-user,hostfwd=tcp:127.0.0.1:2222-:22} image_at=${image_at:--p 2222 127.0.0.1}
in_guest() {
  # shellcheck disable=SC2086 # perhaps a port, and a host
  ssh -q -i "$key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout="${ssh_patience:-20}" \
    -l "${guest_user:-root}" $image_at "$@"
}

start_image() { # OPTION…: with 4 vCPUs over image_nodes (2) nodes. Sets run_pid.
  mkfifo "$dir/image.in"
  build/bin/dvm-run --name image --disk "$DVM_LAB_DISK" --nodes "${image_nodes:-2}" --cpus 4 --memory 1G \
    --net "$image_net" "$@" < "$dir/image.in" > "$dir/image.out" 2> "$dir/image.err" &
  run_pid=$!
  started+=("$run_pid")
  exec {console_in}> "$dir/image.in"
}

# Once everything that starts has started; within image_patience (90) seconds.
image_runs() {
  local state deadline=$((SECONDS + ${image_patience:-90}))
  while [ "$SECONDS" -lt "$deadline" ]; do
    state=$(in_guest systemctl is-system-running 2> /dev/null)
    [ "$state" != running ] || return 0
    sleep 1
  done
  in_guest 'systemctl --failed; systemctl list-jobs' | sed 's/^/      | /'
  return 1
}

# What its kernel has to complain of: nothing.
no_complaints() {
  local seen
  seen=$(in_guest 'dmesg | grep -E "BUG:|WARNING: CPU|Oops|soft lockup|rcu.*stall|invalid opcode"; echo that is all')
  [ "$seen" = "that is all" ] || { sed 's/^/      | /' <<< "${seen:-it does not answer}"; return 1; }
}

# On the disk that it was given, once it has ended.
root_is_clean() {
  local root
  root=$(blkid -t TYPE=ext4 -o device | grep "^$DVM_LAB_DISK" | head -n 1)
  e2fsck -fn "${root:-none}" > "$dir/fsck" 2>&1 || { sed 's/^/      | /' "$dir/fsck"; return 1; }
}
