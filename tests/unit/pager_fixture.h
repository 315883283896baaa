// Nodes with software coherence over a pool, in one process or several.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "hyperkernel/pager.h"

namespace dvm::hyperkernel {

struct PagedPool {
  fabric::Pool pool;
  fabric::InstanceTable* instances = nullptr;

  PagedPool(u64 pages, u64 shared_frames) {
    using fabric::RegionKind;
    fabric::PoolSpec spec;
    spec.name = "paged";
    spec.frames_bytes = (pages + shared_frames) * kPageBytes;
    spec.metadata = {
        {RegionKind::instances, fabric::kInstancesVersion, sizeof(fabric::InstanceTable)},
        {RegionKind::page_directory, kPageDirectoryVersion, page_directory_bytes(pages)},
        {RegionKind::coherence, kCoherenceVersion, coherence_region_bytes(pages, shared_frames)}};
    pool = fabric::Pool::create(spec).take();
    instances =
        *pool.record<fabric::InstanceTable>(RegionKind::instances, fabric::kInstancesVersion);
    PageDirectory::of(pool)->begin_at_home(pages);
    EXPECT_TRUE(Coherence::format(pool, {pages, pages, shared_frames, 0}).ok());
  }

  Coherence coherence() const { return Coherence::of(pool).take(); }
  // Once its mover has let go: who faulted may run on a little before.
  DirEntry entry(u64 page) const {
    for (;;) {
      const DirEntry e = *PageDirectory::of(pool)->lookup(page);
      if (e.mover == 0) return e;
      std::this_thread::yield();
    }
  }

  // Runs at once.
  std::unique_ptr<Pager> node(u32 index, PagerOptions options = {}) {
    const auto who = instances->join(index, ::getpid());
    options.failed = [](const Error& e) { ADD_FAILURE() << e.message; };
    auto pager = Pager::start(pool, *instances, who, index, std::move(options));
    if (!pager.ok()) {
      ADD_FAILURE() << pager.error().message;
      std::abort();
    }
    EXPECT_TRUE((*pager)->begin().ok());
    return pager.take();
  }
};

inline std::atomic<u64>& word(Pager& node, u64 page, u64 index = 0) {
  return reinterpret_cast<std::atomic<u64>*>(node.view() + page * kPageBytes)[index];
}

#define DVM_NEEDS_USERFAULTFD()                                                   \
  if (const auto usable = ::dvm::hyperkernel::Userfault::probe(); !usable.ok()) { \
    GTEST_SKIP() << usable.error().message;                                       \
  }

}  // namespace dvm::hyperkernel
