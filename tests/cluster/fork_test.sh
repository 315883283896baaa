#!/usr/bin/env bash
# A running guest is forked: clones go on beside it, each with its own console, network, MAC address, random numbers and memory;
# the parent goes on, too. Then one of the clones is.
#   tests/cluster/fork_test.sh [CLONES (1)]
# shellcheck disable=SC2016,SC2317 # what the guest is to expand; functions that check calls
# shellcheck source=tests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
clones=${1:-1}

# Notices that it is a clone as an agent in the guest would, and takes its new MAC address into use. Who connects is told
# which one it is; then the witness writes.
read -r -d '' script << 'END'
mkfifo /go; (fork_witness < /go) & exec 3> /go
drivers=/sys/bus/virtio/drivers/virtio_net
up() { ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2; }
up
disk() { dd if=/dev/vda bs=512 skip="$1" count=1 2>/dev/null | head -n 1; }         # closed again: not kept in memory
put() { echo "$2" | dd of=/dev/vda bs=512 seek="$1" conv=fsync,notrunc 2>/dev/null; }
put 0 of-the-parent; put 8 nobodys; put 16 nobodys
printf '#!/bin/sh\necho "MAC $(cat /sys/class/net/eth0/address) TIME $(date +%%s)"\necho write > /go\n' > /answer; chmod +x /answer
(while :; do nc -l -p 22 -e /answer; done) &
echo READY
had=0
cat /dev/kmsg | while read -r line; do # waits for the next line
  case $line in *'due to virtual machine fork'*)
    had=$((had + 1))
    for device in $drivers/virtio*; do echo "${device##*/}" > $drivers/unbind; echo "${device##*/}" > $drivers/bind; done
    up
    echo "DISK $had was $(disk 0) $(disk $((8 * had)))"
    put $((8 * had)) "clone-$had"
    echo "DISK $had is $(disk 0) $(disk $((8 * had)))"
    echo "CLONE $had random $(head -c 16 /dev/urandom | md5sum | head -c 32) mac $(cat /sys/class/net/eth0/address)" ;;
  esac
done
END
truncate -s 16M "$dir/disk.img"
# Only this kernel has a driver for generation ids.
kernel=amd64 start parent "$script" --nodes 2 --cpus 2 --memory 512M --net user,hostfwd=tcp:127.0.0.1:2200-:22 \
  --disk "$dir/disk.img" --events "$dir/parent.events"
check "the guest is up" wait_for parent '^fork_witness: ready' 90 || exit 1
wait_for parent READY 30

figure() { ctl "$1" --json status | grep -o "\"origin\":{[^}]*}" | grep -o "\"$2\":[0-9]*" | cut -d: -f2; } # NAME WHAT
told() { sed -n "s/^CLONE .*$2 \([0-9a-f:]*\).*/\1/p" "$dir/$1.out" | tail -n 1; }                              # NAME WHAT
answers() { # PORT MAC: with the right time, too
  local i said
  for i in $(seq $((3 + clones / 4))); do
    said=$(timeout 20 busybox nc 127.0.0.1 "$1" < /dev/null)
    [[ $said == "MAC $2"*TIME* ]] && [ $(($(date +%s) - ${said##*TIME })) -le 20 ] && return
  done
  echo "      $1 said '$said'"
  return 1
}
limit=$((60 + 30 * clones)) # they share the host's processors
is_new() { # NAME PORT GENERATION: what a clone promises
  check "$1 knows that it is one" wait_for "$1" '^CLONE' $limit || return
  echo "      $1: $(told "$1" random), $(figure "$1" own) of $(figure "$1" pages) pages are its own"
  check "$1 has its own disk" grep -q "^DISK $3 is of-the-parent clone-$3" "$dir/$1.out"
  check "$1 shares nine tenths of its pages" [ "$(figure "$1" shared)" -ge $(($(figure "$1" pages) * 9 / 10)) ]
  check "$1 answers, with its own address and the right time" answers "$2" "$(told "$1" mac)"
}
fork() { # PARENT NAME COUNT FIRST-PORT-DIGITS
  check "$1 is forked into $3" ctl "$1" fork "$2" --count "$3" -- --nodes 1 \
    --net "user,hostfwd=tcp:127.0.0.1:$4{n}-:22" --serial "file:$dir/$2-{n}.out"
}
numbers() { seq 1 "$1"; }

fork parent clone "$clones" 230
for n in $(numbers "$clones"); do is_new "clone-$n" "230$n" 1; done
check "the parent answers" answers 2200 ""
for n in $(numbers "$clones"); do check "clone-$n has its own memory" wait_for "clone-$n" '^fork_witness: ok' $limit; done
check "and the parent" wait_for parent '^fork_witness: ok' $limit
check "nor is its disk the clones'" [ "$(tr -d '\0' < "$dir/disk.img" | tr '\n' ' ')" = "of-the-parent nobodys nobodys " ]
check "nobody has another's" [ "$(cat "$dir"/*.out | grep -c 'fork_witness: FAIL')" = 0 ]
stood=$(sed -n 's/.*"event":"checkpoint_taken".*"stood_ns":\([0-9]*\).*/\1/p' "$dir/parent.events" | tail -n 1)
echo "      the parent stood still for $((${stood:-0} / 1000000)) ms"

fork clone-1 second 1 240
check "the clone of a clone" is_new second-1 2401 2
check "which begins as its parent's was" grep -q '^DISK 2 was of-the-parent nobodys' "$dir/second-1.out"
check "keeps what its parent had written" wait_for second-1 '^fork_witness: ok' $limit
all() { for n in $(numbers "$clones"); do told "clone-$n" "$1"; done; told second-1 "$1"; } # WHAT
different() { [ "$(all "$1" | sort -u | wc -l)" = $((clones + 1)) ]; }
check "random numbers differ" different random
check "MAC addresses differ" different mac

refused() { # TITLE WHY CMD…
  local title=$1 why=$2
  shift 2
  ! "$@" > "$dir/refused" 2>&1 < /dev/null && grep -qE -- "$why" "$dir/refused" && ok "$title is refused: $(tail -n 1 "$dir/refused")" ||
    { fail "$title: $(cat "$dir/refused")"; }
}
refused "a name that is taken" 'a guest parent is running' ctl parent fork parent
refused "an option that a clone cannot have" 'memory' ctl parent fork other -- --memory 1G
request="{\"command\":\"checkpoint\",\"file\":\"$dir/parent.err\",\"fork\":true,\"disks\":[{\"disk\":0,\"file\":\"$dir/none\"}]}"
named() { python3 tests/cluster/socket_client.py "$DVM_RUNTIME_DIR/parent/control.sock" "$request"$'\n' '}' | grep -q 'without a name'; }
check "nobody's file is overwritten" named
kill -9 "$run_pid"
check "the clones outlive their parent" grep -q running <(ctl clone-1 status)
for guest in second-1 $(for n in $(numbers "$clones"); do echo "clone-$n"; done); do
  check "$guest ends" ctl "$guest" stop
done
build/bin/dvm-ctl list > /dev/null 2>&1 # removes what the parent left
check "nothing is left" nothing_left
done_testing
