// What a node saw of the guest's accesses to memory: pages that had to come to it, and pages whose
// mapping was taken away to see who touches them.
#pragma once

#include <type_traits>

#include "fabric/types.h"

namespace dvm::locality {

enum class SeenKind : u8 {
  read,    // a fault: the page, or a copy of it, came to `node`
  write,   // a fault: the page came to `node`, writable
  sample,  // the mapping had been taken away here; nothing moved
};
inline constexpr u32 kSeenKinds = 3;

inline constexpr u32 kMaxNodes = 16;
inline constexpr u32 kMaxVcpus = 1024;
inline constexpr u16 kNoVcpu = 0xffff;
// Where the page was, if with no node.
inline constexpr u8 kAtHome = 0xff;    // nobody had it
inline constexpr u8 kInRegion = 0xfe;  // in the coherent region: shared
inline constexpr u8 kCopies = 0xfd;    // at home, and others had copies

struct Observation {
  u64 time_ns = 0;  // CLOCK_MONOTONIC, or since the start of a trace
  u32 page = 0;     // of RAM, from 0
  u32 took_ns = 0;  // a fault: what it cost. A sample: how long the page was left alone
  u16 vcpu = kNoVcpu;
  u8 node = 0;        // that wanted it
  u8 from = kAtHome;  // that had it
  SeenKind kind = SeenKind::read;
  u8 reserved[3] = {};
  friend constexpr bool operator==(const Observation&, const Observation&) = default;
};
static_assert(sizeof(Observation) == 24 && std::is_trivially_copyable_v<Observation>);

inline bool is_fault(const Observation& o) { return o.kind != SeenKind::sample; }
// A fault for a page that another node had to itself.
inline bool from_elsewhere(const Observation& o) {
  return is_fault(o) && o.from < kMaxNodes && o.from != o.node;
}
// A fault that others' having the page has cost.
inline bool is_hand_over(const Observation& o) {
  return from_elsewhere(o) || (is_fault(o) && o.from == kCopies);
}

}  // namespace dvm::locality
