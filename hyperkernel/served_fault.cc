#include "hyperkernel/served_fault.h"

#include <algorithm>
#include <bit>

namespace dvm::hyperkernel {

using locality::SeenKind;

namespace {

bool was_here(const ServedFault& fault, u32 self) {
  const DirEntry& e = fault.before;
  return e.owned_by(self) ||
         (e.mode == PageMode::replicated && (e.nodes & only(self)) != 0 && !fault.writes);
}

u8 holder(const DirEntry& e, u32 self) {
  const auto others = static_cast<NodeSet>(e.nodes & ~only(self));
  if (e.mode == PageMode::shared) return locality::kInRegion;
  if (e.mode == PageMode::owned) return static_cast<u8>(std::countr_zero(e.nodes));
  return others != 0 ? locality::kCopies : locality::kAtHome;
}

}  // namespace

locality::Observation observation_of(const ServedFault& fault, u32 self) {
  locality::Observation seen{.time_ns = fault.begun_ns,
                             .page = static_cast<u32>(fault.page),
                             .took_ns = static_cast<u32>(std::min<u64>(fault.took_ns, ~u32{0})),
                             .node = static_cast<u8>(self),
                             .kind = fault.writes ? SeenKind::write : SeenKind::read};
  const bool sample = was_here(fault, self);
  seen.from = sample ? static_cast<u8>(self) : holder(fault.before, self);
  if (sample) seen.kind = SeenKind::sample;
  return seen;
}

}  // namespace dvm::hyperkernel
