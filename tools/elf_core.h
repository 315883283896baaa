// A guest's memory as an ELF core file, as QEMU's dump-guest-memory makes it: crash and gdb read
// it.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "fabric/types.h"
#include "vmm/vcpu_image.h"

namespace dvm::tools {

struct CoreRange {
  u64 gpa = 0, bytes = 0;
};

struct CoreLayout {
  std::string head;          // ELF header, program headers and notes: the file's first bytes
  std::vector<u64> offsets;  // where in the file each range begins
  u64 bytes = 0;             // the whole file's
};

// PT_NOTE with each vCPU's NT_PRSTATUS, then with each one's "QEMU" note (control registers and
// descriptor tables, by which crash finds a relocated kernel); a PT_LOAD for each range, at its
// guest-physical address. Pure.
CoreLayout core_layout(std::span<const vmm::VcpuImage> vcpus, std::span<const CoreRange> ranges);

}  // namespace dvm::tools
