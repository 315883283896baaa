// An ELF kernel with a PVH entry point, started in 32-bit mode (Xen docs/misc/pvh.pandoc,
// include/public/arch-x86/hvm/start_info.h; ELF-64 Object File Format 1.5).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "vmm/boot/boot_file.h"
#include "vmm/boot/initrd.h"

namespace dvm::vmm {

// Bytes of the file that go to guest memory, zeros behind them.
struct PvhSegment {
  u64 file_offset = 0;
  u64 file_bytes = 0;
  u64 gpa = 0;
  u64 bytes = 0;  // in memory, at least file_bytes
};

// An ELF whose headers have been checked: its segments lie in the file and below 4 GiB.
struct PvhImage {
  std::vector<PvhSegment> segments;
  u64 entry = 0;  // in a segment

  u64 end() const;
};

// Linux takes 2047 bytes of command line on x86 and cuts the rest; PVH has no field for it.
inline constexpr u64 kPvhCommandLineMax = 2047;

// Does the file begin as an ELF does?
bool is_elf(std::span<const std::byte> head);

Result<PvhImage> read_pvh(const BootFile& file);
Status check_pvh_fits(const PvhImage& image, u64 ram_end, const std::string& label);
Status load_pvh(const PvhImage& image, const BootFile& file,
                const hyperkernel::GuestMemory& memory);

// hvm_start_info at layout::kPvhStartInfo, with what it points to behind it.
Status write_pvh_start_info(const Initrd& initrd, u64 ram_bytes, u64 rsdp,
                            const hyperkernel::GuestMemory& memory);

}  // namespace dvm::vmm
