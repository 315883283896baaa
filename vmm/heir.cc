#include "vmm/heir.h"

#include <algorithm>

namespace dvm::vmm {

std::optional<u8> heir_of(const Machine& machine, u32 vcpu, u32 dying) {
  std::array<u32, layout::kMaxNodes> load{};
  for (u32 i = 0; i < machine.config().vcpus; ++i)
    ++load[std::min<u32>(machine.state().vcpus[i].node(), layout::kMaxNodes - 1)];
  std::optional<u8> best;
  for (u32 i = 0; i < layout::kMaxNodes; ++i) {
    const u32 node = (vcpu + i) % layout::kMaxNodes;
    if (node == dying || !machine.takes_vcpus(node)) continue;
    if (!best || load[node] < load[*best]) best = static_cast<u8>(node);
  }
  return best;
}

}  // namespace dvm::vmm
