// Linux's bzImage, started at its 64-bit entry point (Documentation/arch/x86/boot.rst).
#pragma once

#include <asm/bootparam.h>

#include <span>
#include <string>

#include "vmm/boot/boot_file.h"

namespace dvm::vmm {

// The bytes at the start of a kernel file that decide what it is: boot sector and setup header.
inline constexpr u64 kKernelHeadBytes = 1024;

// A bzImage whose header has been checked. Its addresses have not been checked against RAM.
struct BzImage {
  setup_header header{};     // as in the file
  u64 payload_offset = 0;    // in the file
  u64 payload_bytes = 0;     // what is loaded
  u64 load_address = 0;      // guest physical
  u64 init_bytes = 0;        // what it needs from there on, until it knows the memory map
  u64 initrd_limit = 0;      // first address behind the highest that an initrd may use
  u64 command_line_max = 0;  // without the NUL

  u64 end() const { return load_address + init_bytes; }
  u64 entry() const { return load_address + 0x200; }  // boot.rst "64-bit Boot Protocol"
};

// `head` is the first kKernelHeadBytes of the file, or all of it. `label` starts every message.
Result<BzImage> parse_bzimage(std::span<const std::byte> head, u64 file_bytes,
                              const std::string& label);

// Does it fit into RAM that ends at `ram_end`?
Status check_bzimage_fits(const BzImage& image, u64 ram_end, const std::string& label);

Status load_bzimage(const BzImage& image, const BootFile& file,
                    const hyperkernel::GuestMemory& memory);

}  // namespace dvm::vmm
