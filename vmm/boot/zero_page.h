// Linux's "zero page", struct boot_params (Documentation/arch/x86/zero-page.rst).
#pragma once

#include "vmm/boot/bzimage.h"
#include "vmm/boot/initrd.h"

namespace dvm::vmm {

// What the boot loader tells the kernel. The command line is at layout::kCommandLine.
boot_params make_zero_page(const BzImage& image, const Initrd& initrd, u64 ram_bytes, u64 rsdp);

}  // namespace dvm::vmm
