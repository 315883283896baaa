#include "vmm/boot/loader.h"

#include <algorithm>
#include <variant>

#include "vmm/acpi/tables.h"
#include "vmm/boot/bzimage.h"
#include "vmm/boot/command_line.h"
#include "vmm/boot/e820.h"
#include "vmm/boot/firmware.h"
#include "vmm/boot/initrd.h"
#include "vmm/boot/pvh.h"
#include "vmm/boot/zero_page.h"
#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

using hyperkernel::GuestMemory;

using Kernel = std::variant<BzImage, PvhImage>;

// What the rest of the plan asks of a kernel, of either kind.
struct KernelLimits {
  u64 end = 0;           // of the memory it needs to start
  u64 initrd_limit = 0;  // first address behind where an initrd may lie
  u64 command_line_max = 0;
};

// What goes where; made and checked before anything is written.
struct Plan {
  BootFile kernel_file;
  Kernel kernel;
  std::optional<BootFile> initrd_file;
  Initrd initrd;
};

Result<Kernel> read_kernel(const BootFile& file, u64 ram_end) {
  DVM_ASSIGN(const auto head, file.read(0, kKernelHeadBytes));
  if (is_elf(head)) {
    DVM_ASSIGN(auto image, read_pvh(file));
    DVM_TRY(check_pvh_fits(image, ram_end, file.label()));
    return Kernel(std::move(image));
  }
  DVM_ASSIGN(const auto image, parse_bzimage(head, file.bytes(), file.label()));
  DVM_TRY(check_bzimage_fits(image, ram_end, file.label()));
  return Kernel(image);
}

KernelLimits limits_of(const Kernel& kernel, u64 ram_end) {
  if (const auto* image = std::get_if<BzImage>(&kernel)) {
    return {image->end(), std::min(ram_end, image->initrd_limit), image->command_line_max};
  }
  return {std::get<PvhImage>(kernel).end(), ram_end, kPvhCommandLineMax};
}

Result<Plan> make_plan(const BootSource& source, u64 ram_bytes) {
  const u64 ram_end = low_ram_end(ram_bytes);
  DVM_ASSIGN(auto file, BootFile::open(source.kernel, "kernel", source.kernel_name));
  DVM_ASSIGN(auto kernel, read_kernel(file, ram_end));
  const KernelLimits limits = limits_of(kernel, ram_end);
  DVM_TRY(check_command_line(source.command_line, limits.command_line_max));
  Plan plan{std::move(file), std::move(kernel), std::nullopt, {}};
  if (source.initrd) {
    DVM_ASSIGN(plan.initrd_file, BootFile::open(*source.initrd, "initrd", source.initrd_name));
    DVM_ASSIGN(plan.initrd, place_initrd(*plan.initrd_file, limits.end, limits.initrd_limit));
  }
  return plan;
}

// The kernel itself, and what tells it about its machine.
Result<EntryState> load_kernel(const Plan& plan, const GuestMemory& memory, u64 ram_bytes,
                               u64 rsdp) {
  if (const auto* image = std::get_if<BzImage>(&plan.kernel)) {
    DVM_TRY(load_bzimage(*image, plan.kernel_file, memory));
    DVM_TRY(
        memory.store(layout::kBootParams, make_zero_page(*image, plan.initrd, ram_bytes, rsdp)));
    return EntryState{EntryMode::long64, image->entry(), layout::kBootParams};
  }
  const auto& image = std::get<PvhImage>(plan.kernel);
  DVM_TRY(load_pvh(image, plan.kernel_file, memory));
  DVM_TRY(write_pvh_start_info(plan.initrd, ram_bytes, rsdp, memory));
  return EntryState{EntryMode::protected32, image.entry, layout::kPvhStartInfo};
}

}  // namespace

Status check_boot_source(const BootSource& source, u64 ram_bytes) {
  if (source.firmware) {
    DVM_TRY(check_firmware(*source.firmware, source.firmware_name));
    return {};
  }
  DVM_ASSIGN(const auto plan, make_plan(source, ram_bytes));
  return {};
}

Result<EntryState> load_guest(const BootSource& source, const GuestMemory& memory, u64 ram_bytes,
                              u32 vcpus, const GuestMemory& rom) {
  if (source.firmware) return load_firmware(*source.firmware, source.firmware_name, memory, rom);
  DVM_ASSIGN(const auto plan, make_plan(source, ram_bytes));
  DVM_ASSIGN(const u64 rsdp,
             write_acpi_tables(memory, {.vcpus = vcpus, .watchdog = source.watchdog}));
  DVM_ASSIGN(const EntryState entry, load_kernel(plan, memory, ram_bytes, rsdp));
  if (plan.initrd_file) DVM_TRY(load_initrd(plan.initrd, *plan.initrd_file, memory));
  DVM_TRY(write_command_line(source.command_line, memory));
  DVM_TRY(write_boot_structures(memory, entry.mode));
  return entry;
}

}  // namespace dvm::vmm
