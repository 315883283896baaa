#include "tools/bench/saving_ways.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "hyperkernel/fault_loop.h"
#include "hyperkernel/written_pages.h"

namespace dvm::tools {
namespace {

using hyperkernel::UndoLog;
using hyperkernel::Userfault;
using hyperkernel::WrittenPages;

class Nothing final : public Saving {
  Status end_epoch() override { return {}; }
};

class Copy final : public Saving {
 public:
  explicit Copy(SavedMemory& memory) : memory_(memory) {
    copy_.resize(memory.view.memory().total_bytes());
  }
  Status end_epoch() override {
    const auto& ram = memory_.view.memory().ranges().front();
    std::memcpy(copy_.data(), ram.host, ram.bytes);
    return {};
  }

 private:
  SavedMemory& memory_;
  std::vector<std::byte> copy_;
};

// A thread for writes that wait.
class FaultThread {
 public:
  void start(const Fd& faults, std::function<bool(u64 address)> admit) {
    wake_ = Fd(::eventfd(0, EFD_CLOEXEC));
    thread_ = std::thread([this, &faults, admit = std::move(admit)] {
      hyperkernel::serve_faults(faults, wake_, stopping_,
                                [&](const uffd_msg& m) { return admit(m.arg.pagefault.address); });
    });
  }
  ~FaultThread() {
    stopping_.store(true);
    const u64 one = 1;
    if (wake_.valid()) (void)!::write(wake_.get(), &one, sizeof one);
    if (thread_.joinable()) thread_.join();
  }

 private:
  Fd wake_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

class Protect final : public Saving {
 public:
  Protect(const hyperkernel::RamRange& ram, UndoLog log, Userfault user)
      : ram_(ram), log_(std::move(log)), user_(std::move(user)) {
    thread_.start(user_.fd(), [this](u64 address) { return admit(address); });
  }
  Status end_epoch() override {
    for (const u64 page : written_) user_.protect(start() + page * kPageBytes, kPageBytes, true);
    written_.clear();
    ++epoch_;
    return {};
  }

 private:
  u64 start() const { return reinterpret_cast<u64>(ram_.host); }
  bool admit(u64 address) {
    const u64 page = (address - start()) / kPageBytes;
    written_.push_back(page);
    return log_.capture(epoch_, page, ram_.host + page * kPageBytes) &&
           user_.protect(start() + page * kPageBytes, kPageBytes, false) == 0;
  }

  const hyperkernel::RamRange& ram_;
  UndoLog log_;
  Userfault user_;
  std::vector<u64> written_;  // of its thread while somebody writes
  u32 epoch_ = 1;
  FaultThread thread_;
};

class Suspect final : public Saving {
 public:
  explicit Suspect(std::unique_ptr<WrittenPages> pages) : pages_(std::move(pages)) {
    thread_.start(pages_->faults(), [this](u64 address) {
      const std::lock_guard guard(pages_->lock());
      return pages_->admit(epoch_, address).ok();
    });
  }
  Status end_epoch() override {
    const std::lock_guard guard(pages_->lock());
    ++epoch_;
    return pages_->protect(epoch_ - 1, epoch_);
  }
  void went_on() override {
    pages_->review([] { return true; });
  }

 private:
  std::unique_ptr<WrittenPages> pages_;
  u32 epoch_ = 1;  // under the pages' lock
  FaultThread thread_;
};

Result<std::unique_ptr<Saving>> begin_to_protect(SavedMemory& memory) {
  const auto& ram = memory.view.memory().ranges().front();
  DVM_ASSIGN(auto log, UndoLog::of(memory.pool));
  DVM_ASSIGN(Userfault user, Userfault::make_for_writes());
  const u64 at = reinterpret_cast<u64>(ram.host);
  DVM_TRY(user.watch_writes(at, ram.bytes));
  errno = user.protect(at, ram.bytes, true);
  if (errno != 0) return sys_error("UFFDIO_WRITEPROTECT");
  return std::unique_ptr<Saving>(std::make_unique<Protect>(ram, std::move(log), std::move(user)));
}

}  // namespace

Result<std::unique_ptr<SavedMemory>> SavedMemory::make(u64 bytes) {
  using fabric::RegionKind;
  const u64 pages = bytes / kPageBytes;
  fabric::PoolSpec spec;
  spec.name = "saving";
  spec.frames_bytes = bytes;
  spec.metadata = {
      {RegionKind::page_directory, hyperkernel::kPageDirectoryVersion,
       hyperkernel::page_directory_bytes(pages)},
      {RegionKind::undo, hyperkernel::kUndoVersion, hyperkernel::undo_region_bytes(pages)}};
  auto memory = std::make_unique<SavedMemory>();
  DVM_ASSIGN(memory->pool, fabric::Pool::create(spec));
  DVM_ASSIGN(auto directory, hyperkernel::PageDirectory::of(memory->pool));
  DVM_TRY(UndoLog::format(memory->pool, pages));
  DVM_ASSIGN(memory->view, hyperkernel::GuestView::map(memory->pool, directory, {{0, bytes, 0}}));
  return memory;
}

Result<std::unique_ptr<Saving>> Saving::begin(SavingWay way, SavedMemory& memory) {
  switch (way) {
    case SavingWay::nothing: return std::unique_ptr<Saving>(std::make_unique<Nothing>());
    case SavingWay::copy: return std::unique_ptr<Saving>(std::make_unique<Copy>(memory));
    case SavingWay::protect: return begin_to_protect(memory);
    case SavingWay::suspect: break;
  }
  DVM_ASSIGN(auto pages, WrittenPages::watch(memory.pool, memory.view.memory()));
  return std::unique_ptr<Saving>(std::make_unique<Suspect>(std::move(pages)));
}

}  // namespace dvm::tools
