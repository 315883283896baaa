// What the command lines of the benchmarks that run guests have in common.
#pragma once

#include <string>
#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"
#include "tools/command_words.h"

namespace dvm::tools {

// Reads the option, if it was given, over what is there. `read` turns text into a Result<T>.
template <typename T, typename Read>
Status take_option(const CommandWords& words, const std::string& option, T& to, Read&& read) {
  const auto text = words.value(option);
  if (!text) return {};
  auto value = read(*text);
  if (!value.ok()) return usage_error("{}: {}", option, value.error().message);
  to = value.take();
  return {};
}

Result<u64> parse_memory(const std::string& text);
Result<bool> parse_peer(const std::string& text);               // "qemu"
Result<std::vector<u32>> parse_nodes(const std::string& text);  // "1,2,4", each once
std::vector<std::string> split_list(const std::string& text);   // at commas
std::string cache_folder();                                     // where tools/guest-files puts them
Status check_readable(const std::string& path, const char* hint);  // names `hint` if it is not
// Those of tools/guest-files where none were said; both must be there.
Status find_guest_files(std::string& kernel, std::string& initrd);

// A QEMU as lean as its machine allows, with what dvm's machine has: a serial port on stdio and a
// virtio source of entropy, qboot for firmware.
struct LeanQemu {
  std::string machine, entropy;
  u32 cpus = 1;
  u64 memory = 0;
  std::string kernel, initrd, append;
};
extern const char* const kLeanQ35;
std::vector<std::string> qemu_words(const LeanQemu& q);
// Writes it all to a file.
Status write_text(const std::string& path, const std::string& text);
// An error that says where KVM is, unless it is here. `benchmark`: "boot".
Status need_kvm(const std::string& benchmark, const std::vector<std::string>& words);

}  // namespace dvm::tools
