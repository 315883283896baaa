// The machines whose boots are compared, each as the command that boots it.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/boot_options.h"

namespace dvm::tools {

struct Contender {
  std::string name;  // "qemu-q35", "dvm-2-nodes"
  u32 nodes = 0;     // 0: QEMU
  std::vector<std::string> words;
  bool software = false;  // coherence
};

std::string dvm_contender_name(u32 nodes, bool software = false);
// QEMU's first, then dvm by number of nodes. The options' files are filled in.
std::vector<Contender> boot_contenders(const BootOptions& options, const std::string& dvm_run);

}  // namespace dvm::tools
