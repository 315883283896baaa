#!/usr/bin/env bash
# Disks on the lab host's kernel (6.1), which is older than most: its io_uring, direct I/O on ext4,
# loop devices. Run by `tools/lab run --modules loop,ext4 -- tests/kvm/disk_test.sh`.
set -euo pipefail
cd "$(dirname "$0")/../.."

image=$(mktemp /dev/shm/disks-XXXXXX)
scratch=$(mktemp -d)
truncate -s 512M "$image"
mkfs.ext4 -q "$image"
mount -o loop "$image" "$scratch"
trap 'umount "$scratch"; rm -f "$image"' EXIT
DVM_TEST_SCRATCH=$scratch build/bin/dvm-disk-tests --gtest_brief=1
