#include "srt/uring_engine.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

namespace dvm::srt {
namespace {

// The kernel asks to try again when it lacks memory for a moment; for ever would be a hang.
constexpr u16 kMaxAttempts = 1000;

// How zeroes are made: each way until one works.
enum ZeroStage : u16 { kPunch, kZeroRange, kWriteOut };

bool unsupported(int result) { return result == -EOPNOTSUPP || result == -ENODEV; }

}  // namespace

UringEngine::~UringEngine() {
  if (made_) ::io_uring_queue_exit(&ring_);
}

Status UringEngine::prepare(u32 depth) {
  bell_ = Fd(::eventfd(0, EFD_CLOEXEC));
  if (!bell_.valid()) return sys_error("eventfd");
  const unsigned entries = depth + 1;  // each task has one operation at a time; the bell one
  // Disabled until enter(), which makes that thread the only one that may submit.
  constexpr unsigned kFlags = IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER;
  int failed = ::io_uring_queue_init(entries, &ring_, kFlags | IORING_SETUP_DEFER_TASKRUN);
  if (failed == -EINVAL) {  // before Linux 6.1
    failed = ::io_uring_queue_init(entries, &ring_, IORING_SETUP_R_DISABLED);
  }
  if (failed == -EPERM || failed == -ENOSYS) {
    return error(
        "disk {}: io_uring is not allowed here (sysctl kernel.io_uring_disabled, or a seccomp "
        "filter such as a container's)",
        disk_.spec().path);
  }
  if (failed < 0) {
    errno = -failed;
    return sys_error("io_uring_setup");
  }
  made_ = true;
  return {};
}

void UringEngine::enter() {
  // io_uring_enable_rings() is declared by liburing 2.3, but not in its library. The ring was made
  // disabled, by us: this cannot fail.
  if (::io_uring_register(static_cast<unsigned>(ring_.ring_fd), IORING_REGISTER_ENABLE_RINGS,
                          nullptr, 0) < 0) {
    std::abort();
  }
  listen();
}

void UringEngine::listen() {
  io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
  ::io_uring_prep_read(sqe, bell_.get(), &rung_, sizeof(rung_), 0);
  ::io_uring_sqe_set_data(sqe, nullptr);
}

void UringEngine::start(DiskTask& task) {
  const DiskRequest& r = task.request;
  const DiskGeometry& g = disk_.geometry();
  const bool changes = r.op != DiskOp::read && r.op != DiskOp::flush;
  if (changes && disk_.spec().read_only) return end(task, EROFS);
  if (r.op != DiskOp::flush && ((r.offset | r.bytes) & (g.block_bytes - 1u)) != 0) {
    return end(task, EINVAL);
  }
  if (r.op == DiskOp::discard && !g.discard) return end(task, ENOTSUP);
  if (r.op == DiskOp::flush && lost_ != 0) return end(task, lost_);
  if (r.op != DiskOp::flush && r.bytes == 0) return end(task, 0);
  if (r.op == DiskOp::read || r.op == DiskOp::write) {
    const IoAlignment alignment{g.direct ? g.block_bytes : 1, g.memory_alignment, g.copies};
    task.transfer.begin(task.buffers, r.op == DiskOp::read, alignment);
  }
  if (r.op == DiskOp::write_zeroes) task.stage = r.unmap && g.discard ? kPunch : kZeroRange;
  issue(task);
}

void UringEngine::issue(DiskTask& task) {
  const DiskRequest& r = task.request;
  io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
  const int fd = disk_.fd().get();
  const bool write_out = r.op == DiskOp::write_zeroes && task.stage == kWriteOut;
  if (r.op == DiskOp::read || r.op == DiskOp::write || write_out) {
    transfer(task, sqe);
  } else if (r.op == DiskOp::flush) {
    ::io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
  } else {
    const bool punch = r.op == DiskOp::discard || task.stage == kPunch;
    const int mode = punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
    // liburing 2.3 has the length as off_t; the kernel takes 64 bits.
    ::io_uring_prep_fallocate(sqe, fd, mode | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(r.offset),
                              static_cast<off_t>(r.bytes));
  }
  ::io_uring_sqe_set_data(sqe, &task);
}

void UringEngine::transfer(DiskTask& task, io_uring_sqe* sqe) {
  const DiskRequest& r = task.request;
  const auto buffers = task.transfer.next();
  if (buffers.empty()) {  // no memory for a copy: said by an operation that does nothing
    ::io_uring_prep_nop(sqe);
    return;
  }
  const u64 offset = r.offset + task.transfer.done();
  const auto count = static_cast<unsigned>(buffers.size());
  const int flags = r.durable ? RWF_DSYNC : 0;
  if (r.op == DiskOp::read) {
    ::io_uring_prep_readv(sqe, disk_.fd().get(), buffers.data(), count, offset);
  } else {
    ::io_uring_prep_writev2(sqe, disk_.fd().get(), buffers.data(), count, offset, flags);
  }
}

void UringEngine::completed(DiskTask& task, int result) {
  const DiskRequest& r = task.request;
  if ((result == -EAGAIN || result == -EINTR) && ++task.attempts < kMaxAttempts) {
    return issue(task);
  }
  if (r.op == DiskOp::write_zeroes) return zeroes_completed(task, result);
  if (result < 0) {
    // Pages whose write-back failed count as clean afterwards; a later flush would find nothing
    // wrong, and their data is gone.
    if (r.op == DiskOp::flush && !disk_.geometry().direct) lost_ = -result;
    return end(task, unsupported(result) ? ENOTSUP : -result);
  }
  if (r.op != DiskOp::read && r.op != DiskOp::write) return end(task, 0);
  // No progress: a read behind the end of a file that was cut, or a device that takes nothing.
  if (!task.transfer.advance(static_cast<u64>(result))) return end(task, EIO);
  if (task.transfer.left() == 0) return end(task, 0);
  issue(task);
}

void UringEngine::zeroes_completed(DiskTask& task, int result) {
  if (task.stage != kWriteOut) {
    if (unsupported(result)) {
      task.stage++;
      if (task.stage == kWriteOut) task.transfer.begin_zeroes(task.request.bytes);
      return issue(task);
    }
    if (result < 0 || !task.request.durable) return end(task, result < 0 ? -result : 0);
    task.request.op = DiskOp::flush;  // the range is zero; now durably
    return issue(task);
  }
  if (result < 0) return end(task, -result);
  if (!task.transfer.advance(static_cast<u64>(result))) return end(task, EIO);
  if (task.transfer.left() == 0) return end(task, 0);
  issue(task);
}

void UringEngine::end(DiskTask& task, int error) { ended_.push_back({&task, error}); }

bool UringEngine::run(bool block, std::vector<EndedTask>& ended) {
  const unsigned wait = block && ended_.empty() ? 1 : 0;
  const int sent = wait != 0 ? ::io_uring_submit_and_wait(&ring_, wait)
                             : ::io_uring_submit_and_get_events(&ring_);
  if (sent < 0 && sent != -EINTR) {
    // For want of memory, or too many completions not yet taken: what was not sent stays queued.
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  bool rung = false;
  io_uring_cqe* cqe = nullptr;
  while (::io_uring_peek_cqe(&ring_, &cqe) == 0) {
    auto* task = static_cast<DiskTask*>(::io_uring_cqe_get_data(cqe));
    const int result = cqe->res;
    ::io_uring_cqe_seen(&ring_, cqe);
    if (task != nullptr) {
      completed(*task, result);
    } else {
      rung = true;
      listen();
    }
  }
  ended.insert(ended.end(), ended_.begin(), ended_.end());
  ended_.clear();
  return rung;
}

}  // namespace dvm::srt
