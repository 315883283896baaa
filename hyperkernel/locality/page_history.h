// What is remembered of pages that came to a node: a table of fixed size, in which a page pushes
// out another that hashes to its place.
#pragma once

#include <bit>
#include <vector>

#include "hyperkernel/locality/observation.h"

namespace dvm::locality {

struct PageHistory {
  u32 page = ~0u;
  u16 vcpu = kNoVcpu;    // the last to fetch it
  u16 nodes = 0;         // that have fetched it: a bit each
  u8 node = 0;           // where it came to last
  bool counted = false;  // among the pages that `vcpu` alone uses on `node`
  u32 moves = 0;
  u64 first_ns = 0;
  u64 last_ns = 0;
  u64 written_ns = 0;   // when a node last took it to write: the others lost it then
  u8 written_by = 0;    // that node
  double spent_ns = 0;  // on its hand-overs
  double idle_ns = 0;   // from one node's having lost it to its wanting it again; 0: not yet known

  u32 node_count() const { return static_cast<u32>(std::popcount(nodes)); }
};

class PageHistories {
 public:
  // `slots` is a power of two.
  explicit PageHistories(std::size_t slots) : slots_(slots) {}

  // The page's place; what is in it may be another page.
  PageHistory& place(u32 page) { return slots_[(page * 0x9e37'79b9u >> 7) & (slots_.size() - 1)]; }
  const PageHistory* find(u32 page) const {
    const auto& h = slots_[(page * 0x9e37'79b9u >> 7) & (slots_.size() - 1)];
    return h.page == page ? &h : nullptr;
  }
  PageHistory& at(std::size_t slot) { return slots_[slot & (slots_.size() - 1)]; }
  std::size_t size() const { return slots_.size(); }

 private:
  std::vector<PageHistory> slots_;
};

}  // namespace dvm::locality
