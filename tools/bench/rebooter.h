// The machines whose guests panic and come back, each as the command that runs it.
#pragma once

#include <string>
#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::tools {

const std::vector<std::string>& rebooter_names();
std::vector<std::string> default_rebooters();
inline constexpr const char* kRebootPeer = "qemu-none";
inline constexpr const char* kSrtRebooter = "dvm-srt";

struct RebooterSettings {
  std::string dvm_run;
  std::string guest;  // dvm's name for it
  std::string disk;
  u32 cpus = 1, nodes = 1;
  u64 memory = 0;
  u16 port = 0;  // of this host, which leads to the guest's sshd
};

// `name`: one of rebooter_names().
std::vector<std::string> rebooter_words(const std::string& name, const RebooterSettings& s);

}  // namespace dvm::tools
