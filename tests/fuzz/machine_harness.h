// One machine in an anonymous pool, put back to the same state before each input. What no guest and
// no client may change is compared after it, and pages around guest RAM are watched.
#pragma once

#include <memory>
#include <vector>

#include "tests/fuzz/input.h"
#include "vmm/exit.h"

namespace dvm::fuzz {

inline constexpr u32 kFunctions = 3;  // entropy, console, balloon

class MachineHarness {
 public:
  explicit MachineHarness(u32 vcpus, u32 firmware_bytes = 0);
  void reset();  // before each input
  void check();  // after it
  vmm::Machine& machine() { return *machine_; }

 private:
  std::span<std::byte> machine_bytes() const;
  std::vector<std::byte> fixed() const;

  std::unique_ptr<vmm::Machine> machine_;
  std::vector<std::byte> at_rest_;  // MachineState after a reset
  std::vector<std::byte> fixed_;
  std::vector<std::span<std::byte>> canaries_;
};

}  // namespace dvm::fuzz
