#include "tools/bench/rebooter.h"

#include <fmt/format.h>

#include "vmm/layout.h"

namespace dvm::tools {
namespace {

using Words = std::vector<std::string>;

// As lean as SeaBIOS and GRUB allow (they need a PIC and a PIT); SeaBIOS's screen on the serial
// port, as it is dvm's.
constexpr const char* kQ35 = "q35,smm=off,sata=off,smbus=off,hpet=off,vmport=off,graphics=off";

// A comma within a path is written twice, for both.
std::string with_commas(const std::string& path) {
  std::string text;
  for (const char c : path) text += c == ',' ? ",," : std::string(1, c);
  return text;
}

std::string forward(u16 port) { return fmt::format("user,hostfwd=tcp:127.0.0.1:{}-:22", port); }

Words dvm_words(const RebooterSettings& s, const char* srt) {
  Words words = {s.dvm_run,
                 "--name",
                 s.guest,
                 "--disk",
                 with_commas(s.disk),
                 "--nodes",
                 fmt::to_string(s.nodes),
                 "--cpus",
                 fmt::to_string(s.cpus),
                 "--memory",
                 fmt::to_string(s.memory),
                 "--net",
                 forward(s.port)};
  if (srt != nullptr) words.insert(words.end(), {"--srt", srt});
  return words;
}

Words qemu_disk_words(const RebooterSettings& s, const char* cache) {
  return {"qemu-system-x86_64",
          "-M",
          kQ35,
          "-accel",
          "kvm",
          "-cpu",
          "host",
          "-smp",
          fmt::to_string(s.cpus),
          "-m",
          fmt::format("{}M", s.memory / kMiB),
          "-nodefaults",
          "-vga",
          "none",
          "-display",
          "none",
          "-serial",
          "stdio",
          "-device",
          "virtio-rng-pci",
          "-object",
          "iothread,id=io0",
          "-drive",
          fmt::format("file={},format=raw,if=none,id=d0,cache={},aio=io_uring", with_commas(s.disk),
                      cache),
          "-device",
          fmt::format("virtio-blk-pci,drive=d0,num-queues={},iothread=io0,bootindex=0", s.cpus),
          "-netdev",
          forward(s.port) + ",id=n0",
          "-device",
          "virtio-net-pci,netdev=n0,romfile="};
}

}  // namespace

const std::vector<std::string>& rebooter_names() {
  static const std::vector<std::string> names = {kSrtRebooter, "dvm-no-srt", "dvm", kRebootPeer,
                                                 "qemu-writeback"};
  return names;
}

std::vector<std::string> default_rebooters() {
  return {kSrtRebooter, "dvm-no-srt", kRebootPeer, "qemu-writeback"};
}

Words rebooter_words(const std::string& name, const RebooterSettings& s) {
  if (name == kRebootPeer) return qemu_disk_words(s, "none");
  if (name == "qemu-writeback") return qemu_disk_words(s, "writeback");
  if (name == "dvm") return dvm_words(s, nullptr);
  return dvm_words(s, name == kSrtRebooter ? "on" : "off");
}

}  // namespace dvm::tools
