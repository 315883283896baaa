// A vCPU's registers as gdb numbers them, and the target description that tells it so (gdb manual,
// appendices G.4 and G.5.7). Pure.
#pragma once

#include <string>
#include <string_view>

#include "vmm/machine_state.h"

namespace dvm::tools {

// What the registers lie in. The vCPU is parked.
struct GdbRegisterFile {
  vmm::VcpuImage& image;
  kvm_fpu& fpu;
};

u32 gdb_register_count();
u32 gdb_register_bytes(u32 number);
// The register's bytes, little-endian. Precondition: there is such a register.
std::string read_gdb_register(const GdbRegisterFile& file, u32 number);
// False: not as many bytes as it has, or one that cannot be written.
bool write_gdb_register(const GdbRegisterFile& file, u32 number, std::string_view bytes);
// target.xml
const std::string& gdb_target_description();

}  // namespace dvm::tools
