#include "hyperkernel/page_origin.h"

#include <sys/eventfd.h>
#include <sys/mman.h>

#include <cerrno>

#include "hyperkernel/fault_loop.h"

namespace dvm::hyperkernel {
namespace {

// What comes with a page: a block of so many, as they lie in RAM.
constexpr u64 kBlock = 16;

}  // namespace

PageOrigin::PageOrigin(OriginPages pages, std::vector<RamRange> ranges, Source source,
                       std::function<void(const Error&)> failed)
    : pages_(pages),
      ranges_(std::move(ranges)),
      source_(std::move(source)),
      failed_(std::move(failed)),
      buffer_(kBlock * kPageBytes) {}

Result<std::unique_ptr<PageOrigin>> PageOrigin::watch(OriginPages pages, const GuestMemory& view,
                                                      Source source,
                                                      std::function<void(const Error&)> failed) {
  std::unique_ptr<PageOrigin> origin(
      new PageOrigin(pages, view.ranges(), std::move(source), std::move(failed)));
  DVM_ASSIGN(origin->user_, Userfault::make_for_missing());
  for (const RamRange& range : origin->ranges_) {
    // Where Linux makes a huge page of some pages and holes, the holes become zero pages that
    // nobody is asked for (khugepaged; since 6.4 it leaves alone what is watched).
    if (::madvise(range.host, range.bytes, MADV_NOHUGEPAGE) < 0 && errno != EINVAL)
      return sys_error("madvise guest memory");
    DVM_TRY(origin->user_.watch_missing(reinterpret_cast<u64>(range.host), range.bytes));
  }
  origin->stop_ = Fd(::eventfd(0, EFD_CLOEXEC));
  if (!origin->stop_.valid()) return sys_error("eventfd");
  origin->thread_ = std::thread([o = origin.get()] {
    serve_faults(o->user_.fd(), o->stop_, o->stopping_, [o](const uffd_msg& m) {
      const Status done = o->fetch(m.arg.pagefault.address);
      if (!done.ok()) o->failed_(done.error());
      return done.ok();
    });
  });
  return origin;
}

PageOrigin::~PageOrigin() {
  stopping_.store(true);
  const u64 one = 1;
  if (stop_.valid()) (void)!::write(stop_.get(), &one, sizeof one);
  if (thread_.joinable()) thread_.join();
}

std::optional<PageOrigin::Place> PageOrigin::place_of(u64 address) const {
  u64 before = 0;
  for (const RamRange& range : ranges_) {
    const auto at = reinterpret_cast<u64>(range.host);
    const u64 pages = range.bytes / kPageBytes;
    if (address >= at && address - at < range.bytes)
      return Place{before + (address - at) / kPageBytes, before, before + pages, range.host};
    before += pages;
  }
  return std::nullopt;
}

Status PageOrigin::fetch(u64 address) {
  const auto at = place_of(address);
  if (!at) return error("a fault outside the view of RAM at {:#x}", address);
  OriginRecord& record = pages_.record();
  record.faults.fetch_add(1, std::memory_order_relaxed);
  const u64 to = reinterpret_cast<u64>(at->begin) + (at->page - at->first) * kPageBytes;
  bool zero = pages_.settled(at->page);
  if (!zero) {
    DVM_ASSIGN(zero, source_.is_zero(at->page));
  }
  if (zero) {
    record.zeroes.fetch_add(1, std::memory_order_relaxed);
    const int failed = user_.zero(to, kPageBytes);
    if (failed != 0 && failed != EEXIST && failed != ESRCH)
      return error("UFFDIO_ZEROPAGE: errno {}", failed);
    pages_.settle(at->page, 1);
    if (failed == EEXIST) user_.wake(to, kPageBytes);
    return {};
  }
  // The run around it of pages that are all to be fetched.
  const auto wanted = [&](u64 page) -> Result<bool> {
    if (pages_.settled(page)) return false;
    DVM_ASSIGN(const bool none, source_.is_zero(page));
    return !none;
  };
  u64 first = at->page, end = at->page + 1;
  const u64 least = std::max(at->first, at->page / kBlock * kBlock);
  const u64 most = std::min(at->last, least / kBlock * kBlock + kBlock);
  for (; first > least; --first) {
    DVM_ASSIGN(const bool also, wanted(first - 1));
    if (!also) break;
  }
  for (; end < most; ++end) {
    DVM_ASSIGN(const bool also, wanted(end));
    if (!also) break;
  }
  return fetch_run(*at, first, end - first);
}

Status PageOrigin::fetch_run(const Place& at, u64 first, u64 count) {
  DVM_TRY(source_.read(first, std::span(buffer_).first(count * kPageBytes)));
  const u64 to = reinterpret_cast<u64>(at.begin) + (first - at.first) * kPageBytes;
  DVM_TRY(install(to, buffer_.data(), count));
  pages_.settle(first, count);
  return {};
}

// Another process may have brought some of them meanwhile: theirs count.
Status PageOrigin::install(u64 to, const std::byte* from, u64 count) {
  int failed = user_.copy(to, from, count * kPageBytes, false);
  if (failed == 0) {
    pages_.record().fetched.fetch_add(count, std::memory_order_relaxed);
    return {};
  }
  for (u64 i = 0; i < count; ++i) {
    failed = user_.copy(to + i * kPageBytes, from + i * kPageBytes, kPageBytes, false);
    if (failed == 0) pages_.record().fetched.fetch_add(1, std::memory_order_relaxed);
    if (failed == ESRCH) return {};  // the address space is gone
    if (failed != 0 && failed != EEXIST) return error("UFFDIO_COPY: errno {}", failed);
  }
  user_.wake(to, count * kPageBytes);
  return {};
}

}  // namespace dvm::hyperkernel
