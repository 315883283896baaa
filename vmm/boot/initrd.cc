#include "vmm/boot/initrd.h"

namespace dvm::vmm {

Result<Initrd> place_initrd(const BootFile& file, u64 kernel_end, u64 limit) {
  const u64 bytes = file.bytes();
  const u64 lowest = align_up(kernel_end, kPageBytes);
  if (lowest < limit && bytes <= limit - lowest) {
    // A huge page of its own is mapped, and given back by the kernel, in one piece.
    for (const u64 alignment : {kHugePageBytes, kPageBytes}) {
      const u64 gpa = (limit - bytes) & ~(alignment - 1);
      if (gpa >= lowest) return Initrd{gpa, bytes};
    }
  }
  const u64 room = lowest < limit ? limit - lowest : 0;
  return usage_error("{}: {} MiB; between the kernel and the end of its memory only {} MiB fit",
                     file.label(), to_mib(bytes), room / kMiB);
}

Status load_initrd(const Initrd& initrd, const BootFile& file,
                   const hyperkernel::GuestMemory& memory) {
  return file.load(memory, initrd.gpa, 0, initrd.bytes);
}

}  // namespace dvm::vmm
