#include "hyperkernel/node_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace dvm::hyperkernel {
namespace {

Error failed(int number, const char* what) {
  errno = number;
  return sys_error(what);
}

Result<Fd> fetch(const Fd& process, i32 number) {
  Fd fd(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), number, 0)));
  if (!fd.valid()) return sys_error("pidfd_getfd of a node's memory");
  return fd;
}

void advise_local(std::byte* at, u64 bytes) {
  for (const int advice : {MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_DONTFORK})
    ::madvise(at, bytes, advice);
}

// When a mapping that holds a whole aligned 2 MiB is cut inside of it, the kernel tells KVM to
// forget all of the 2 MiB, whether or not there is a huge page: up to 512 exits for the first page
// that is shared there. So no mapping holds a whole one: they are 2 MiB long, from the middle of
// one to the middle of the next (a part, below), and kept apart by an advice that means nothing for
// shared memory. Where a mapping for each 2 MiB would be too many, it stays whole.
void cut_between_huge_pages(const Mapping& view, u64 bytes) {
  constexpr u64 kMaxCuts = 16'384;  // of the 65,530 mappings that a process may have
  if (bytes / kHugePageBytes > kMaxCuts) return;
  for (u64 at = kHugePageBytes / 2; at < bytes; at += 2 * kHugePageBytes)
    ::madvise(view.data() + at, std::min(kHugePageBytes, bytes - at), MADV_RANDOM);
}

// What of a run, from `at` on, lies in one such mapping: userfaultfd fills one at a time.
u64 part_of(PageRun run, u64 at) {
  constexpr u64 kPages = kHugePageBytes / kPageBytes;
  return std::min(kPages - (at + kPages / 2) % kPages, run.first + run.count - at);
}

}  // namespace

// ---- any node's -----------------------------------------------------------------------------

Result<LocalMemory> LocalMemory::reach(const NodeRecordOfMemory& record) {
  const u64 instance = record.instance.load(std::memory_order_acquire);
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, record.pid.load(), 0)));
  if (!process.valid()) return sys_error("pidfd_open of a node");
  DVM_ASSIGN(Fd file, fetch(process, record.file.load()));
  DVM_ASSIGN(Fd faults, fetch(process, record.userfault.load()));
  const u64 view = record.view.load();
  if (instance == 0 || record.instance.load(std::memory_order_acquire) != instance)
    return error("the node's memory is gone");
  return LocalMemory(std::move(file), Userfault(std::move(faults)), view);
}

Status LocalMemory::protect(PageRun run) const {
  const int number = faults_.protect(address(run.first), run.count * kPageBytes, true);
  if (number == 0 || number == ESRCH) return {};
  return failed(number, "UFFDIO_WRITEPROTECT a node's memory");
}

// Frames of the pool are mapped unwatched, so that touching them is no fault. EBUSY: among them is
// what another descriptor of the node watches already.
Status LocalMemory::guard(PageRun run) const {
  if (const int number = faults_.watch_number(address(run.first), run.count * kPageBytes);
      number == EBUSY && run.count > 1) {
    for (u64 i = 0; i < run.count; ++i) DVM_TRY(guard({run.first + i, 1}));
    return {};
  }
  return protect(run);  // fails where it is not watched now; where there is nobody any more, not
}

bool LocalMemory::has(u64 page) const {
  const auto at = static_cast<off_t>(page * kPageBytes);
  return ::lseek(file_.get(), at, SEEK_DATA) == at;
}

// Whether a page is there is asked one page at a time: looking for the next hole (SEEK_HOLE) passes
// all that is there, to the end of the file.
Result<u64> LocalMemory::read(PageRun run, std::byte* to) const {
  u64 found = 0;
  const u64 end = run.first + run.count;
  for (u64 page = run.first; page < end;) {
    u64 count = 0;
    while (page + count < end && has(page + count)) ++count;
    if (count == 0) {
      ++page;
      continue;
    }
    DVM_TRY(file_.pread_all({to + (page - run.first) * kPageBytes, count * kPageBytes},
                            page * kPageBytes, "a node's memory"));
    found += count;
    page += count;
  }
  return found;
}

Status LocalMemory::discard(PageRun run) const {
  for (;;) {
    if (::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(run.first * kPageBytes),
                    static_cast<off_t>(run.count * kPageBytes)) == 0)
      return {};
    if (errno != EINTR) return sys_error("fallocate a node's memory");
  }
}

u64 LocalMemory::pages_present() const {
  struct stat s {};
  if (::fstat(file_.get(), &s) != 0) return 0;
  return static_cast<u64>(s.st_blocks) * 512 / kPageBytes;
}

std::optional<u64> LocalMemory::next_present(u64 from) const {
  const off_t at = ::lseek(file_.get(), static_cast<off_t>(from * kPageBytes), SEEK_DATA);
  if (at < 0) return std::nullopt;
  return static_cast<u64>(at) / kPageBytes;
}

// ---- one's own ------------------------------------------------------------------------------

Result<std::unique_ptr<NodeMemory>> NodeMemory::make(const fabric::Pool& pool, u64 pages,
                                                     u32 shards) {
  std::unique_ptr<NodeMemory> m(new NodeMemory());
  m->pool_ = &pool;
  m->pages_ = pages;
  m->shard_pages_ = std::max<u64>(1, (pages + shards - 1) / shards);
  Fd file(::memfd_create("dvm-local-frames", MFD_CLOEXEC));
  const u64 bytes = pages * kPageBytes;
  if (!file.valid() || ::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0)
    return sys_error("memfd_create local frames");
  DVM_ASSIGN(m->view_, Mapping::reserve(bytes, kHugePageBytes));
  DVM_TRY(m->view_.map_at(0, file, 0, bytes, "local frames"));
  advise_local(m->view_.data(), bytes);
  m->frames_ = std::vector<std::atomic<u8>>(pages);
  cut_between_huge_pages(m->view_, bytes);
  const auto at = reinterpret_cast<u64>(m->view_.data());
  for (u64 first = 0; first < pages; first += m->shard_pages_) {
    const u64 count = std::min(m->shard_pages_, pages - first);
    DVM_ASSIGN(Userfault faults, Userfault::make());
    DVM_TRY(faults.watch(at + first * kPageBytes, count * kPageBytes));
    if (first == 0) {
      m->local_ = LocalMemory(std::move(file), std::move(faults), at);
    } else {
      m->shards_.push_back(std::move(faults));
    }
  }
  return m;
}

PageRun NodeMemory::shard_pages(u32 index) const {
  const u64 first = index * shard_pages_;
  return {first, std::min(shard_pages_, pages_ - first)};
}

Status NodeMemory::install(PageRun run, const std::byte* home, bool writable) const {
  for (u64 at = run.first; at < run.first + run.count;) {
    const u64 count = part_of(run, at);
    DVM_TRY(install_part({at, count}, home + (at - run.first) * kPageBytes, writable));
    at += count;
  }
  return {};
}

Status NodeMemory::install_part(PageRun run, const std::byte* home, bool writable) const {
  bool local = true;
  for (u64 i = 0; i < run.count; ++i) local = local && !maps_frame(run.first + i);
  if (local && faults_of(run.first).copy(local_.address(run.first), home, run.count * kPageBytes,
                                         !writable) == 0)
    return {};
  for (u64 i = 0; i < run.count; ++i)
    DVM_TRY(install_one(run.first + i, home + i * kPageBytes, writable));
  return {};
}

bool NodeMemory::install_zeroes(PageRun run) const {
  for (u64 i = 0; i < run.count; ++i) {
    if (maps_frame(run.first + i)) return false;
  }
  for (u64 at = run.first; at < run.first + run.count;) {
    const u64 count = part_of(run, at);
    if (faults_of(at).zero(local_.address(at), count * kPageBytes) != 0) return false;
    at += count;
  }
  return true;
}

// The page may be there: unmapped to see whether it is in use, or mapped with other rights.
Status NodeMemory::install_one(u64 page, const std::byte* home, bool writable) const {
  if (maps_frame(page)) {
    if (!writable)
      return error("page {}: its place maps a frame, and it is not to be written", page);
    return install_over_frame(page, home);
  }
  const Userfault& faults = faults_of(page);
  const u64 at = local_.address(page);
  int number = faults.copy(at, home, kPageBytes, !writable);
  if (number == EEXIST) {
    number = faults.map(at, kPageBytes, !writable);
    if (number == 0 || number == EEXIST) number = faults.protect(at, kPageBytes, !writable);
    faults.wake(at, kPageBytes);
  }
  if (number != 0) return failed(number, "map a page of guest memory");
  return {};
}

// The content is in the file before the file is mapped: until it is watched, who touches the page
// would get whatever is there. That is why it has to be writable.
Status NodeMemory::install_over_frame(u64 page, const std::byte* home) const {
  const u64 at = page * kPageBytes;
  DVM_TRY(local_.file().pwrite_all({home, kPageBytes}, at, "a node's memory"));
  DVM_TRY(view_.map_at(at, local_.file(), at, kPageBytes, "local frames"));
  advise_local(view_.data() + at, kPageBytes);
  DVM_TRY(faults_of(page).watch(local_.address(page), kPageBytes));
  frames_[page].store(0, std::memory_order_relaxed);
  wake({page, 1});
  return {};
}

Status NodeMemory::map_frames(PageRun run, u64 pool_offset) const {
  const u64 bytes = run.count * kPageBytes;
  DVM_TRY(view_.map_at(run.first * kPageBytes, pool_->fd(), pool_offset, bytes, pool_->name()));
  for (u64 i = 0; i < run.count; ++i) frames_[run.first + i].store(1, std::memory_order_relaxed);
  wake(run);
  return {};
}

// Who waits at a frame that another node has guarded waits at the descriptor that all know.
void NodeMemory::wake(PageRun run) const {
  const u64 at = local_.address(run.first), bytes = run.count * kPageBytes;
  faults_of(run.first).wake(at, bytes);
  if (&faults_of(run.first) != &local_.faults()) local_.faults().wake(at, bytes);
}

void NodeMemory::unmap(PageRun run) const {
  ::madvise(view_.data() + run.first * kPageBytes, run.count * kPageBytes, MADV_DONTNEED);
}

}  // namespace dvm::hyperkernel
