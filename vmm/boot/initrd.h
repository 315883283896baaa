// The initial RAM disk: where it goes, and getting it there.
#pragma once

#include "vmm/boot/boot_file.h"

namespace dvm::vmm {

struct Initrd {
  u64 gpa = 0;
  u64 bytes = 0;  // 0: there is none
};

// The highest place in [kernel_end, limit) on a 2 MiB boundary, or if none is free on a 4 KiB one.
Result<Initrd> place_initrd(const BootFile& file, u64 kernel_end, u64 limit);

Status load_initrd(const Initrd& initrd, const BootFile& file,
                   const hyperkernel::GuestMemory& memory);

}  // namespace dvm::vmm
