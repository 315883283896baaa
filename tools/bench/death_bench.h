// Nodes of a running guest die in every way there is, and each vCPU's standing still is taken
// apart.
#pragma once

#include <array>
#include <span>

#include "tools/bench/bench_stats.h"
#include "tools/bench/death_instants.h"
#include "tools/bench/recovery_options.h"

namespace dvm::tools {

// From the end to the vCPU's next instruction:
//   detect     until somebody has noticed; of a failing power: until the vCPU's thread is out of
//              the guest
//   fence      until the node's last thread has ended; of a failing power: none
//   salvage    until the vCPU's state lies in the pool and its heir is named; of a host: until the
//              machine is back at its last epoch, likewise
//   take-over  until the heir's KVM has it
//   resume     until it is about to be in the guest
constexpr std::array<const char*, 5> kDeathParts = {"detect", "fence", "salvage", "take-over",
                                                    "resume"};

// One value for each death.
struct DeathSamples {
  Series pause_us;
  std::array<Series, kDeathParts.size()> parts_us;
};
using DeathFigures = std::array<DeathSamples, kDeathKinds>;

// Pure.
void add_death(const DeathInstants& at, DeathSamples& samples);

// Boots a guest over three nodes under that protection and lets each node in turn die, in each of
// these ways.
Result<DeathFigures> measure_deaths(const RecoveryOptions& options, const std::string& protect,
                                    std::span<const DeathKind> kinds, const std::string& dvm_run);

}  // namespace dvm::tools
