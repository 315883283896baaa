#include "fabric/fault.h"

#include <cmath>

namespace dvm::fabric {
namespace {

constexpr std::array<std::string_view, kFaultKinds> kNames = {
    "none",      "kill",       "kill-host", "hang",        "slow",   "power-fail",
    "partition", "lost-lines", "telemetry", "panic-guest", "corrupt"};

// SplitMix64 (Steele, Lea, Flood 2014): one step spreads neighbouring seeds over all bits.
u64 spread(u64 seed) {
  u64 z = seed + 0x9e37'79b9'7f4a'7c15;
  z = (z ^ (z >> 30)) * 0xbf58'476d'1ce4'e5b9;
  z = (z ^ (z >> 27)) * 0x94d0'49bb'1331'11eb;
  return z ^ (z >> 31);
}

}  // namespace

std::string_view fault_name(FaultKind kind) {
  const auto index = static_cast<std::size_t>(kind);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::optional<FaultKind> fault_by_name(std::string_view name) {
  for (std::size_t i = 1; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<FaultKind>(i);
  }
  return std::nullopt;
}

u64 random_delay_ms(u64 seed, u64 mean_ms) {
  const double uniform = (static_cast<double>(spread(seed) >> 11) + 1) * 0x1p-53;  // (0, 1]
  return static_cast<u64>(-std::log(uniform) * static_cast<double>(mean_ms));
}

}  // namespace dvm::fabric
