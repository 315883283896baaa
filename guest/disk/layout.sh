# Sourced: a disk's layout. GPT; 1 MiB for GRUB; the rest one ext4 file system, from a folder; nothing is mounted.
# shellcheck shell=bash

grub_files=/usr/lib/grub/i386-pc
boot_at=2048 root_at=4096 # sectors
disk_id=7a1c3b52-5d0e-4f6e-9a57-0e2d1f6b8c01
root_id=7a1c3b52-5d0e-4f6e-9a57-0e2d1f6b8c02

write_disk() { # FOLDER OUT MEBIBYTES
  local sectors=$(($3 * 2048))
  truncate -s "${3}M" "$2"
  sfdisk -q "$2" <<END
label: gpt
label-id: $disk_id
start=$boot_at, size=$((root_at - boot_at)), type=21686148-6449-6E6F-744E-656564454649, name=grub
start=$root_at, size=$((sectors - root_at - 2048)), type=linux, uuid=$root_id, name=root
END
  # A new sparse file is all zeros, so the guest has no tables to clear in the background. GRUB 2.06 and kernel
  # 6.1 do not know the newest features.
  mke2fs -q -F -t ext4 -L root -U "$root_id" -m 1 -J size=32 -O '^metadata_csum_seed,^orphan_file' \
    -E "offset=$((root_at * 512)),hash_seed=$root_id,lazy_itable_init=0,assume_storage_prezeroed=1" \
    -d "$1" "$2" "$(((sectors - root_at - 2048) / 2))k"
  write_grub "$2"
}

# GRUB as grub-install would lay it out, with the modules it needs inside: the boot sector reads the first sector
# of the core, that one the rest, both from where the numbers written here say (grub's boot.S and diskboot.S).
write_grub() { # DISK
  local core sectors
  core=$(mktemp)
  grub-mkimage -O i386-pc -d "$grub_files" -p '(,gpt2)/boot/grub' -o "$core" \
    biosdisk part_gpt ext2 linux normal configfile serial terminal minicmd echo ls search halt reboot
  sectors=$((($(stat -c %s "$core") + 511) / 512))
  ((sectors <= root_at - boot_at)) || return 1
  dd if="$core" of="$1" bs=512 seek="$boot_at" conv=notrunc status=none
  rm "$core"
  dd if="$grub_files/boot.img" of="$1" bs=440 count=1 conv=notrunc status=none
  little_endian 8 "$boot_at" | poke "$1" $((0x5c))
  little_endian 8 $((boot_at + 1)) | poke "$1" $((boot_at * 512 + 0x1f4))
  little_endian 2 $((sectors - 1)) | poke "$1" $((boot_at * 512 + 0x1fc))
}

little_endian() { # BYTES NUMBER
  local byte
  for ((byte = 0; byte < $1; byte++)); do
    printf '%b' "\\x$(printf %02x $((($2 >> (8 * byte)) & 255)))"
  done
}

poke() { dd of="$1" bs=1 seek="$2" conv=notrunc status=none; } # FILE OFFSET
