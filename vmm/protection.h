// What a node's death is to the guest.
#pragma once

#include <string_view>

#include "fabric/types.h"

namespace dvm::vmm {

// none: its end. flush: nothing; the node's keeper, or with the power failing the node itself,
// leaves its vCPUs to the others (keeper.h).
enum class Protection : u32 { none, flush };
inline constexpr Protection kLastProtection = Protection::flush;

constexpr std::string_view protection_name(Protection p) {
  return p == Protection::flush ? "flush" : "none";
}

}  // namespace dvm::vmm
