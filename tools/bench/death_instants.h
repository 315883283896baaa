// The ways in which a node ends, and what is known of one such end.
#pragma once

#include <array>

#include "fabric/types.h"

namespace dvm::tools {

// What ends a node. A host is a node and its keeper.
enum class DeathKind : u32 { kill, hang, power_fail, host };
inline constexpr u32 kDeathKinds = 4;
constexpr std::array<const char*, kDeathKinds> kDeathNames = {"kill", "hang", "power-fail", "host"};

// The instants of one death, CLOCK_MONOTONIC in ns. `noticed` 0: by nobody before the fence.
struct DeathInstants {
  u64 end = 0, noticed = 0, fenced = 0, committed = 0, loaded = 0, entered = 0;
};

}  // namespace dvm::tools
