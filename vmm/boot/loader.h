// The one door to starting a guest: kernel, initrd, command line, ACPI tables and the boot
// processor's state. Called again, it makes the same guest again (a reboot).
#pragma once

#include <optional>
#include <string>

#include "fabric/fd.h"
#include "hyperkernel/guest_memory.h"
#include "vmm/boot/entry_state.h"

namespace dvm::vmm {

// The names are what the user called the files, for messages.
// A kernel, or firmware: then `firmware` is there, and nothing else is used.
struct BootSource {
  Fd kernel;  // a bzImage, or an ELF with a PVH entry point
  std::string kernel_name;
  std::optional<Fd> initrd;
  std::string initrd_name;
  std::string command_line;
  std::optional<Fd> firmware;  // a BIOS image
  std::string firmware_name;
  bool watchdog = false;  // the machine has one, of which the kernel is to be told
};

// All that can be wrong with the user's words and files, found without guest memory.
Status check_boot_source(const BootSource& source, u64 ram_bytes);

// `ram_bytes` is what ram_layout() (e820.h) was given to make `memory`; `rom` is where a firmware's
// image goes; empty: it has been put there.
Result<EntryState> load_guest(const BootSource& source, const hyperkernel::GuestMemory& memory,
                              u64 ram_bytes, u32 vcpus, const hyperkernel::GuestMemory& rom = {});

}  // namespace dvm::vmm
