#include "vmm/boot/command_line.h"

#include "vmm/layout.h"

namespace dvm::vmm {

Status check_command_line(const std::string& text, u64 max) {
  if (text.size() > max) {
    return usage_error("kernel command line: {} bytes; this kernel takes at most {}", text.size(),
                       max);
  }
  if (text.find('\0') != std::string::npos) {
    return usage_error("kernel command line: has a NUL byte at {}", text.find('\0'));
  }
  return {};
}

Status write_command_line(const std::string& text, const hyperkernel::GuestMemory& memory) {
  return memory.write(layout::kCommandLine,
                      std::as_bytes(std::span(text.c_str(), text.size() + 1)));
}

}  // namespace dvm::vmm
