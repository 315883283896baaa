// A machine in an anonymous pool, for tests that need no KVM.
#pragma once

#include <gtest/gtest.h>

#include <string_view>

#include "vmm/machine.h"

namespace dvm::vmm {

inline std::unique_ptr<Machine> make_test_machine(u32 vcpus = 2, u32 nodes = 2) {
  MachineSpec spec;
  const std::string_view name = "test";
  std::copy(name.begin(), name.end(), spec.config.name.begin());
  spec.config.memory_bytes = layout::kMinMemory;
  spec.config.tsc_khz = 1'000'000;
  spec.config.vcpus = vcpus;
  spec.config.nodes = nodes;
  for (u32 v = 0; v < vcpus; ++v) spec.placement[v] = static_cast<u16>(v * nodes / vcpus);
  auto machine = Machine::create(spec);
  EXPECT_TRUE(machine.ok()) << (machine.ok() ? "" : machine.error().message);
  return machine.ok() ? machine.take() : nullptr;
}

}  // namespace dvm::vmm
