#include "vmm/boot/zero_page.h"

#include "vmm/boot/e820.h"
#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

static_assert(sizeof(boot_params) == kPageBytes);

constexpr u8 kLoaderUndefined = 0xff;  // boot.rst, type_of_loader: no id assigned
constexpr u16 kVideoModeNormal = 0xffff;

constexpr u32 low_half(u64 value) { return static_cast<u32>(value); }
constexpr u32 high_half(u64 value) { return static_cast<u32>(value >> 32); }

}  // namespace

boot_params make_zero_page(const BzImage& image, const Initrd& initrd, u64 ram_bytes, u64 rsdp) {
  boot_params params{};
  params.hdr = image.header;
  params.hdr.type_of_loader = kLoaderUndefined;
  params.hdr.vid_mode = kVideoModeNormal;
  params.hdr.code32_start = low_half(image.load_address);
  params.hdr.setup_data = 0;
  params.hdr.ramdisk_image = low_half(initrd.gpa);
  params.ext_ramdisk_image = high_half(initrd.gpa);
  params.hdr.ramdisk_size = low_half(initrd.bytes);
  params.ext_ramdisk_size = high_half(initrd.bytes);
  params.hdr.cmd_line_ptr = low_half(layout::kCommandLine);
  params.ext_cmd_line_ptr = high_half(layout::kCommandLine);
  params.acpi_rsdp_addr = rsdp;
  for (const E820Entry& entry : memory_map(ram_bytes)) {
    auto& slot = params.e820_table[params.e820_entries++];
    slot.addr = entry.gpa;
    slot.size = entry.bytes;
    slot.type = static_cast<u32>(entry.type);
  }
  return params;
}

}  // namespace dvm::vmm
