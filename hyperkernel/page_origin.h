// This process's part in RAM that comes from where the guest was saved (origin_record.h): a thread
// that fetches pages which somebody here touches and the pool's file does not have yet. Some around
// them come along: a fault costs many times what a copy does.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "hyperkernel/guest_memory.h"
#include "hyperkernel/origin_record.h"
#include "hyperkernel/userfault.h"

namespace dvm::hyperkernel {

class PageOrigin {
 public:
  struct Source {
    // Whether it is known to be a page of zero bytes.
    std::function<Result<bool>(u64 page)> is_zero;
    // The content of whole pages from `first` on.
    std::function<Status(u64 first, std::span<std::byte> to)> read;
  };
  // Both on the thread that fetches. `failed`: a page cannot be had, and whoever waits for it waits
  // until this process ends.
  static Result<std::unique_ptr<PageOrigin>> watch(OriginPages pages, const GuestMemory& view,
                                                   Source source,
                                                   std::function<void(const Error&)> failed);
  ~PageOrigin();  // nobody may touch a page that is not there from here on
  PageOrigin(const PageOrigin&) = delete;
  PageOrigin& operator=(const PageOrigin&) = delete;

 private:
  struct Place {
    u64 page;
    u64 first, last;   // of its part of RAM
    std::byte* begin;  // of that part, in the view
  };
  PageOrigin(OriginPages pages, std::vector<RamRange> ranges, Source source,
             std::function<void(const Error&)> failed);
  std::optional<Place> place_of(u64 address) const;
  Status fetch(u64 address);
  Status fetch_run(const Place& at, u64 first, u64 count);
  Status install(u64 to, const std::byte* from, u64 count);

  const OriginPages pages_;
  const std::vector<RamRange> ranges_;
  const Source source_;
  const std::function<void(const Error&)> failed_;
  Userfault user_;
  std::vector<std::byte> buffer_;
  Fd stop_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace dvm::hyperkernel
