// RAM that was put back without being read: pages that nobody has touched yet are where the guest
// was saved, and the first who touches one fetches it, for all processes (page_origin.h).
//
// Region `origin`: the record, and from its second page on a bit for each page of RAM, which is set
// once the page is what the pool's file says: fetched, or given back by the guest. Death between a
// page's coming and its bit: it is there, and nobody faults on it; given back later, its bit is set
// before the file has a hole.
#pragma once

#include <array>
#include <atomic>
#include <optional>
#include <span>

#include "fabric/pool.h"

namespace dvm::hyperkernel {

inline constexpr u32 kOriginVersion = 1;
inline constexpr u32 kMaxOriginFiles = 16;

struct OriginRecord {
  u64 pages;  // of RAM
  u32 place;  // of RAM's (vmm/ram_place.h): pages of the others are where they seem to be
  u32 files;
  // The saved files, as descriptors of the process `pid`: that which put the guest back.
  i32 pid;
  std::array<i32, kMaxOriginFiles> fds;
  u32 reserved;
  // For people.
  std::atomic<u64> faults;   // touches that waited
  std::atomic<u64> fetched;  // pages
  std::atomic<u64> zeroes;   // pages of zero bytes
};

u64 origin_region_bytes(u64 pages);
Status check_record(const OriginRecord& record, const fabric::RecordPlace& place);

// Threads: any.
class OriginPages {
 public:
  // Once, before `of`; no bit is set.
  static Result<OriginRecord*> format(const fabric::Pool& pool, u64 pages);
  // `pool` outlives it.
  static Result<OriginPages> of(const fabric::Pool& pool);

  OriginRecord& record() const { return *record_; }
  // Whether the pool has the page, or nobody has it and it is zero.
  bool settled(u64 page) const {
    return (words_[page / 64].load(std::memory_order_acquire) >> (page % 64) & 1) != 0;
  }
  void settle(u64 first, u64 count) const;
  u64 count_settled() const;

 private:
  OriginPages(OriginRecord* record, std::span<std::atomic<u64>> words)
      : record_(record), words_(words) {}
  OriginRecord* record_;
  std::span<std::atomic<u64>> words_;
};

}  // namespace dvm::hyperkernel
