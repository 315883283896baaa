// What a vCPU has paid, lately, for its memory's being elsewhere: for pages that lie on a node, and
// for pages that go to and fro between it and another vCPU. In ns, halving with time.
#pragma once

#include <array>

#include "hyperkernel/locality/observation.h"

namespace dvm::locality {

struct Tie {
  u16 vcpu = kNoVcpu;
  double ns = 0;        // for what goes to and fro
  double stock_ns = 0;  // for what the other had, and came here once
  u8 stock_node = 0;    // from where
  // What it had is in use by it still, as more than little of it has gone back.
  bool binds() const { return ns > 0 && ns * 10 >= stock_ns; }
};

// All zero is a valid start.
struct VcpuTies {
  static constexpr std::size_t kTies = 8;
  std::array<double, kMaxNodes> pull_ns{};  // for pages that lay there, and came here once
  std::array<double, kMaxNodes> pulled{};   // how many
  std::array<double, kMaxNodes> recent{};   // a second, lately
  std::array<u32, kMaxNodes> since_step{};  // since the last step
  u64 pulls_since_ns = 0;                   // when the first of them came
  std::array<u32, kMaxNodes> own_pages{};   // there, that only this vCPU uses
  std::array<Tie, kTies> ties{};            // the strongest

  void forget_pulls() {
    pull_ns.fill(0);
    pulled.fill(0);
    recent.fill(0);
    since_step.fill(0);
    pulls_since_ns = 0;
  }
  // Of those that are full, the weakest goes.
  Tie& tie_with(u16 vcpu) {
    Tie* weakest = &ties[0];
    for (Tie& tie : ties) {
      if (tie.vcpu == vcpu) return tie;
      if (tie.vcpu == kNoVcpu ||
          (weakest->vcpu != kNoVcpu && tie.ns + tie.stock_ns < weakest->ns + weakest->stock_ns))
        weakest = &tie;
    }
    *weakest = {vcpu, 0, 0, 0};
    return *weakest;
  }
  const Tie* find_tie(u16 vcpu) const {
    for (const Tie& tie : ties) {
      if (tie.vcpu == vcpu) return &tie;
    }
    return nullptr;
  }
  bool bound_to(u16 vcpu) const {
    const Tie* tie = find_tie(vcpu);
    return tie != nullptr && tie->binds();
  }
  double tie_ns(u16 vcpu) const {
    const Tie* tie = find_tie(vcpu);
    return tie != nullptr ? tie->ns : 0;
  }
};

}  // namespace dvm::locality
