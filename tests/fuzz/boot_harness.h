// Loads a fuzzer's bytes as a kernel (or initrd) file, the way dvm-run and a node do.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/guest_ram.h"
#include "vmm/boot/loader.h"

namespace dvm::fuzz {

inline constexpr u64 kBootRam = 64 * kMiB;

// The guest is loaded twice, as a reboot does; what check_boot_source accepts must load.
inline void boot(std::span<const u8> kernel, std::span<const u8> initrd, std::string command_line) {
  static GuestRam ram(kBootRam);
  ram.clear();
  const auto file = [](std::span<const u8> bytes) {
    Fd fd(::memfd_create("fuzz-boot", MFD_CLOEXEC));
    FUZZ_CHECK(fd.valid() && fd.pwrite_all(std::as_bytes(bytes), 0, "").ok());
    return fd;
  };
  vmm::BootSource source;
  source.kernel = file(kernel);
  source.kernel_name = "fuzz";
  if (!initrd.empty()) source.initrd = file(initrd);
  source.initrd_name = "fuzz";
  source.command_line = std::move(command_line);
  const bool accepted = vmm::check_boot_source(source, kBootRam).ok();
  const auto first = vmm::load_guest(source, ram.memory(), kBootRam, 2);
  FUZZ_CHECK(accepted == first.ok());
  if (!first.ok()) return;
  FUZZ_CHECK(ram.holds(first.value().rip, 1));
  FUZZ_CHECK(ram.holds(first.value().boot_data, 1));
  const auto again = vmm::load_guest(source, ram.memory(), kBootRam, 2);
  FUZZ_CHECK(again.ok() && again.value() == first.value());
}

}  // namespace dvm::fuzz
