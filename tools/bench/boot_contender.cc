#include "tools/bench/boot_contender.h"

namespace dvm::tools {
namespace {

// What a user who wants QEMU to boot fast would choose; docs/benchmarks.md has what was tried.
// qboot is QEMU's minimal firmware. Each machine has the devices that dvm's has: a serial port, an
// RTC and a virtio source of entropy, on the bus that the machine has for it.
constexpr const char* kQ35 = "q35,smm=off,sata=off,smbus=off,hpet=off,vmport=off,pit=off,pic=off";
constexpr const char* kMicrovm = "microvm,isa-serial=on,rtc=on,pit=off,pic=off,x-option-roms=off";

Contender qemu(const BootOptions& o, const char* name, const char* machine, const char* entropy) {
  return {name,
          0,
          {"qemu-system-x86_64",
           "-M",
           machine,
           "-accel",
           "kvm",
           "-cpu",
           "host",
           "-smp",
           fmt::to_string(o.cpus),
           "-m",
           fmt::format("{}M", o.memory / kMiB),
           "-bios",
           "qboot.rom",
           "-nodefaults",
           "-device",
           entropy,
           "-display",
           "none",
           "-serial",
           "stdio",
           "-no-reboot",
           "-kernel",
           o.kernel,
           "-initrd",
           o.initrd,
           "-append",
           o.append}};
}

Contender dvm(const BootOptions& o, const std::string& dvm_run, u32 nodes) {
  return {dvm_contender_name(nodes),
          nodes,
          {dvm_run, "--nodes", fmt::to_string(nodes), "--cpus", fmt::to_string(o.cpus), "--memory",
           fmt::to_string(o.memory), "--kernel", o.kernel, "--initrd", o.initrd,
           "--append=" + o.append}};
}

}  // namespace

std::string dvm_contender_name(u32 nodes) {
  return fmt::format("dvm-{}-node{}", nodes, nodes == 1 ? "" : "s");
}

std::vector<Contender> boot_contenders(const BootOptions& options, const std::string& dvm_run) {
  std::vector<Contender> contenders;
  if (options.peer_qemu) {
    contenders.push_back(qemu(options, "qemu-q35", kQ35, "virtio-rng-pci"));
    contenders.push_back(qemu(options, "qemu-microvm", kMicrovm, "virtio-rng-device"));
  }
  for (const u32 nodes : options.nodes) contenders.push_back(dvm(options, dvm_run, nodes));
  return contenders;
}

}  // namespace dvm::tools
