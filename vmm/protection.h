// What a node's death is to the guest.
#pragma once

#include <string_view>

#include "fabric/types.h"

namespace dvm::vmm {

// none: its end. flush: nothing; the node's keeper, or with the power failing the node itself,
// leaves its vCPUs to the others (keeper.h). epoch: the same, and where the keeper went with it the
// machine goes back to the last epoch (epoch_record.h).
enum class Protection : u32 { none, flush, epoch };
inline constexpr Protection kLastProtection = Protection::epoch;

constexpr std::string_view protection_name(Protection p) {
  switch (p) {
    case Protection::flush: return "flush";
    case Protection::epoch: return "epoch";
    case Protection::none: break;
  }
  return "none";
}

}  // namespace dvm::vmm
