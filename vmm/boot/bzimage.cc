// All section names below are those of Linux's Documentation/arch/x86/boot.rst.
#include "vmm/boot/bzimage.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

constexpr u64 kHeaderOffset = 0x1f1;   // "The Real-Mode Kernel Header"
constexpr u64 kHeaderEndBase = 0x202;  // + the byte at 0x201, the operand of its jump
constexpr u64 kHeaderEndByte = 0x201;
constexpr u16 kBootFlag = 0xaa55;
constexpr u32 kMagic = 0x5372'6448;  // "HdrS"
constexpr u16 kMinVersion = 0x020c;  // the first with xloadflags: who is older has no 64-bit entry
constexpr u64 kSectorBytes = 512;
constexpr u64 kDefaultSetupSectors = 4;  // "for backwards compatibility, if setup_sects is 0"
constexpr u64 kParagraphBytes = 16;      // the unit of syssize
constexpr u64 kMaxAlignment = kGiB;

// The part of the header that the file says it has; the rest stays zero.
setup_header copy_header(std::span<const std::byte> head) {
  setup_header h{};
  const u64 end = kHeaderEndBase + std::to_integer<u64>(head[kHeaderEndByte]);
  const u64 bytes = std::min({end - kHeaderOffset, head.size() - kHeaderOffset, sizeof(h)});
  std::memcpy(&h, head.data() + kHeaderOffset, bytes);
  return h;
}

Status check_kind(const setup_header& h, const std::string& label) {
  if (h.boot_flag != kBootFlag) {
    return usage_error("{}: not a Linux bzImage (no boot flag 0xaa55 at 0x1fe)", label);
  }
  if (h.header != kMagic) {
    return usage_error("{}: not a Linux bzImage (no HdrS signature at 0x202)", label);
  }
  if (h.version < kMinVersion) {
    return usage_error("{}: boot protocol {}.{:02}; 2.12 (Linux 3.8) or later is needed", label,
                       h.version >> 8, h.version & 0xff);
  }
  if ((h.loadflags & LOADED_HIGH) == 0) {
    return usage_error("{}: a zImage; only a bzImage is taken (LOADED_HIGH in loadflags)", label);
  }
  if ((h.xloadflags & XLF_KERNEL_64) == 0) {
    return usage_error("{}: a 32-bit kernel; only x86-64 is taken (XLF_KERNEL_64)", label);
  }
  return {};
}

// "The 32-bit (non-real-mode) kernel starts at offset (setup_sects+1)*512 in the kernel file".
Status find_payload(const setup_header& h, u64 file_bytes, const std::string& label,
                    BzImage& image) {
  const u64 sectors = h.setup_sects == 0 ? kDefaultSetupSectors : h.setup_sects;
  const u64 promised = u64{h.syssize} * kParagraphBytes;
  image.payload_offset = (sectors + 1) * kSectorBytes;
  if (promised == 0) return usage_error("{}: its header has syssize 0: no kernel in it", label);
  // syssize is rounded up to a paragraph, the file need not be. More in the file is a signature.
  if (align_up(file_bytes, kParagraphBytes) < image.payload_offset + promised) {
    return usage_error("{}: truncated: {} bytes, its header promises {}", label, file_bytes,
                       image.payload_offset + promised);
  }
  image.payload_bytes = std::min(promised, file_bytes - image.payload_offset);
  return {};
}

// "kernel_alignment", "relocatable_kernel", "pref_address", "init_size".
Status choose_address(const setup_header& h, const std::string& label, BzImage& image) {
  if (h.pref_address > layout::kLowRamEnd) {
    return usage_error("{}: wants address {:#x}; RAM for kernels ends at {:#x}", label,
                       u64{h.pref_address}, layout::kLowRamEnd);
  }
  if (h.relocatable_kernel != 0) {
    const u64 alignment = h.kernel_alignment;
    if (alignment < kPageBytes || alignment > kMaxAlignment || !std::has_single_bit(alignment)) {
      return usage_error("{}: kernel_alignment {:#x}; a power of two from 4 KiB to 1 GiB is needed",
                         label, alignment);
    }
    // Below pref_address it would only move itself up there.
    image.load_address = align_up(std::max(layout::kKernelLoad, u64{h.pref_address}), alignment);
  } else {
    image.load_address = h.pref_address;
  }
  if (image.load_address < kMiB) {
    return usage_error("{}: not relocatable and wants address {:#x}; 1 MiB is the lowest", label,
                       image.load_address);
  }
  image.init_bytes = std::max(u64{h.init_size}, image.payload_bytes);
  return {};
}

}  // namespace

Result<BzImage> parse_bzimage(std::span<const std::byte> head, u64 file_bytes,
                              const std::string& label) {
  if (head.size() < kKernelHeadBytes || file_bytes < kKernelHeadBytes) {
    return usage_error("{}: not a Linux bzImage (only {} bytes)", label, file_bytes);
  }
  BzImage image;
  image.header = copy_header(head);
  const setup_header& h = image.header;
  DVM_TRY(check_kind(h, label));
  DVM_TRY(find_payload(h, file_bytes, label, image));
  DVM_TRY(choose_address(h, label, image));
  image.initrd_limit = u64{h.initrd_addr_max} + 1;
  image.command_line_max = std::min(u64{h.cmdline_size}, layout::kCommandLineMax - 1);
  return image;
}

Status check_bzimage_fits(const BzImage& image, u64 ram_end, const std::string& label) {
  if (image.end() <= ram_end) return {};
  return usage_error("{}: needs {} MiB of memory from {} MiB on to start; memory ends at {} MiB",
                     label, to_mib(image.init_bytes), image.load_address / kMiB, ram_end / kMiB);
}

Status load_bzimage(const BzImage& image, const BootFile& file,
                    const hyperkernel::GuestMemory& memory) {
  return file.load(memory, image.load_address, image.payload_offset, image.payload_bytes);
}

}  // namespace dvm::vmm
