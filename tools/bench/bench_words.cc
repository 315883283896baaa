#include "tools/bench/bench_words.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "tools/message.h"
#include "tools/run_settings.h"
#include "tools/size_text.h"
#include "vmm/kvm_probe.h"
#include "vmm/layout.h"

namespace dvm::tools {

Result<u64> parse_memory(const std::string& text) {
  DVM_ASSIGN(const u64 bytes, parse_size(text));
  return check_memory(bytes);
}

Result<bool> parse_peer(const std::string& text) {
  if (text == "qemu") return true;
  return usage_error("found '{}'; allowed: qemu", text);
}

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    parts.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return parts;
}

Result<std::vector<u32>> parse_nodes(const std::string& text) {
  std::vector<u32> nodes;
  for (const std::string& part : split_list(text)) {
    DVM_ASSIGN(const u32 count, parse_count(part, vmm::layout::kMaxNodes));
    if (std::find(nodes.begin(), nodes.end(), count) != nodes.end())
      return usage_error("found {} twice; allowed: each number once", count);
    nodes.push_back(count);
  }
  return nodes;
}

std::string cache_folder() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  if (const auto cache = variable("DVM_CACHE"); !cache.empty()) return cache;
  if (const auto cache = variable("XDG_CACHE_HOME"); !cache.empty()) return cache + "/dvm";
  return variable("HOME") + "/.cache/dvm";
}

Status check_readable(const std::string& path, const char* hint) {
  if (::access(path.c_str(), R_OK) < 0) return error("no {}: {}", path, hint);
  return {};
}

Status find_guest_files(std::string& kernel, std::string& initrd) {
  const std::string cache = cache_folder();
  if (kernel.empty()) kernel = cache + "/kernels/cloud/vmlinuz";
  if (initrd.empty()) initrd = cache + "/initramfs-cloud.cpio";
  for (const auto& path : {kernel, initrd})
    DVM_TRY(check_readable(path, "tools/guest-files makes the kernel and the initramfs"));
  return {};
}

Status write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::trunc);
  file << text << std::flush;
  if (!file) return sys_error("write " + path);
  return {};
}

Status need_kvm(const std::string& benchmark, const std::vector<std::string>& words) {
  const std::string why = vmm::probe_kvm();
  if (why.empty()) return {};
  std::string command;
  for (const auto& word : words) command += " " + word;
  return error(
      "no usable KVM here ({}); where it is: tools/lab run --timeout 900 -- "
      "build/bin/dvm-bench {}{}",
      why, benchmark, command);
}

// What a user who wants QEMU to boot fast would choose; docs/benchmarks.md has what was tried.
const char* const kLeanQ35 = "q35,smm=off,sata=off,smbus=off,hpet=off,vmport=off,pit=off,pic=off";

std::vector<std::string> qemu_words(const LeanQemu& q) {
  return {"qemu-system-x86_64",
          "-M",
          q.machine,
          "-accel",
          "kvm",
          "-cpu",
          "host",
          "-smp",
          fmt::to_string(q.cpus),
          "-m",
          fmt::format("{}M", q.memory / kMiB),
          "-bios",
          "qboot.rom",
          "-nodefaults",
          "-device",
          q.entropy,
          "-display",
          "none",
          "-serial",
          "stdio",
          "-no-reboot",
          "-kernel",
          q.kernel,
          "-initrd",
          q.initrd,
          "-append",
          q.append};
}

}  // namespace dvm::tools
