#include "tools/bench/boot_contender.h"

#include "tools/bench/bench_words.h"

namespace dvm::tools {
namespace {

constexpr const char* kMicrovm = "microvm,isa-serial=on,rtc=on,pit=off,pic=off,x-option-roms=off";

Contender qemu(const BootOptions& o, const char* name, const char* machine, const char* entropy) {
  return {name, 0, qemu_words({machine, entropy, o.cpus, o.memory, o.kernel, o.initrd, o.append})};
}

Contender dvm(const BootOptions& o, const std::string& dvm_run, u32 nodes, bool software) {
  Contender c{dvm_contender_name(nodes, software),
              nodes,
              {dvm_run, "--nodes", fmt::to_string(nodes), "--cpus", fmt::to_string(o.cpus),
               "--memory", fmt::to_string(o.memory), "--kernel", o.kernel, "--initrd", o.initrd,
               "--append=" + o.append},
              software};
  if (!software) return c;
  c.words.insert(c.words.end(), {"--coherence", "software"});
  if (!o.coherent_memory.empty())
    c.words.insert(c.words.end(), {"--coherent-memory", o.coherent_memory});
  return c;
}

}  // namespace

std::string dvm_contender_name(u32 nodes, bool software) {
  return fmt::format("dvm-{}-node{}{}", nodes, nodes == 1 ? "" : "s", software ? "-software" : "");
}

std::vector<Contender> boot_contenders(const BootOptions& options, const std::string& dvm_run) {
  std::vector<Contender> contenders;
  if (options.peer_qemu) {
    contenders.push_back(qemu(options, "qemu-q35", kLeanQ35, "virtio-rng-pci"));
    contenders.push_back(qemu(options, "qemu-microvm", kMicrovm, "virtio-rng-device"));
  }
  for (const u32 nodes : options.nodes) {
    contenders.push_back(dvm(options, dvm_run, nodes, false));
    if (options.software && nodes > 1) contenders.push_back(dvm(options, dvm_run, nodes, true));
  }
  return contenders;
}

}  // namespace dvm::tools
