#include "srt/nbd_engine.h"

#include <libnbd.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace dvm::srt {
namespace {

// NBD's own limit for a payload every server takes (32 MiB), and for what has none.
constexpr u64 kMaxPayload = 32 * kMiB;
constexpr u64 kMaxRange = 1 * kGiB;
constexpr std::chrono::milliseconds kRetry{10};

}  // namespace

// What libnbd gives back when a command ends.
struct NbdEngine::Command {
  NbdEngine* engine;
  DiskTask* task;
  u64 bytes;
};

Result<std::unique_ptr<NbdEngine>> NbdEngine::connect(const std::string& socket_path,
                                                      const DiskSpec& spec,
                                                      const DiskGeometry& geometry,
                                                      Clock::duration patience) {
  std::unique_ptr<NbdEngine> engine(new NbdEngine(socket_path, spec, geometry, patience));
  DVM_TRY(engine->open());
  return engine;
}

Status NbdEngine::open() {
  nbd_handle* fresh = ::nbd_create();
  if (fresh == nullptr) return error("nbd_create: {}", ::nbd_get_error());
  ::nbd_close(std::exchange(nbd_, fresh));
  // With structured replies qemu-nbd (7.2) answers a read error of the medium by hanging up.
  if (::nbd_set_request_structured_replies(nbd_, false) < 0) {
    return error("libnbd: {}", ::nbd_get_error());
  }
  if (::nbd_connect_unix(nbd_, socket_path_.c_str()) < 0) {
    return error("disk {}: qemu-nbd at {}: {}", spec_.path, socket_path_, ::nbd_get_error());
  }
  if (!spec_.read_only && ::nbd_can_multi_conn(nbd_) != 1) {
    return error("disk {}: this qemu-nbd lets several nodes not write at once", spec_.path);
  }
  return {};
}

NbdEngine::~NbdEngine() { ::nbd_close(nbd_); }

Status NbdEngine::prepare(u32) {
  bell_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!bell_.valid()) return sys_error("eventfd");
  return {};
}

// An errno for what is refused here.
int NbdEngine::check(const DiskRequest& r) const {
  if (r.op == DiskOp::flush) return 0;
  if (r.op != DiskOp::read && spec_.read_only) return EROFS;
  if (((r.offset | r.bytes) & (geometry_.block_bytes - 1u)) != 0) return EINVAL;
  const bool cannot = (r.op == DiskOp::discard && !geometry_.discard) ||
                      (r.op == DiskOp::write_zeroes && !geometry_.write_zeroes);
  return cannot ? ENOTSUP : 0;
}

void NbdEngine::start(DiskTask& task) {
  const DiskRequest& r = task.request;
  const int refused = check(r);
  if (refused != 0 || (r.op != DiskOp::flush && r.bytes == 0)) {
    ended_.push_back({&task, refused});
    return;
  }
  // A command has one buffer: several are copied together.
  if (moves_data(r.op)) {
    task.transfer.begin(task.buffers, r.op == DiskOp::read, {}, 1);
  } else if (r.op != DiskOp::flush) {
    task.transfer.begin_zeroes(r.bytes, 1);  // only counts
  }
  issue(task);
}

void NbdEngine::issue(DiskTask& task) {
  auto* command = new Command{this, &task, 0};
  if (send(task, command) >= 0) return;
  // Not taken: libnbd does not call back.
  const int why = ::nbd_get_errno();
  delete command;
  ended_.push_back({&task, why != 0 ? why : EIO});
}

// No command is under way then: libnbd has called back for all of them.
bool NbdEngine::is_lost() const {
  return ::nbd_aio_is_dead(nbd_) != 0 || ::nbd_aio_is_closed(nbd_) != 0 ||
         ::nbd_aio_is_created(nbd_) != 0;
}

// The server is ended and started anew when a node has died. What fails to the end of our patience
// has failed.
void NbdEngine::reconnect() {
  const auto now = Clock::now();
  if (lost_since_ == Clock::time_point{}) lost_since_ = next_try_ = now;
  if (!given_up_ && now >= next_try_) {
    next_try_ = now + kRetry;
    if (open().ok()) {
      lost_since_ = {};
      std::vector<DiskTask*> tasks;
      tasks.swap(again_);
      for (DiskTask* task : tasks) issue(*task);
      return;
    }
  }
  given_up_ = given_up_ || now - lost_since_ > patience_;
  if (!given_up_) return;
  for (DiskTask* task : again_) {
    task->stage = 0;
    ended_.push_back({task, EIO});
  }
  again_.clear();
}

i64 NbdEngine::send(DiskTask& task, Command* command) {
  const DiskRequest& r = task.request;
  const u64 offset = r.offset + task.transfer.done();
  const nbd_completion_callback callback{on_complete, command, nullptr};
  const u32 fua = r.durable ? LIBNBD_CMD_FLAG_FUA : 0;
  if (moves_data(r.op)) {
    const auto buffers = task.transfer.next();
    if (buffers.empty()) return -1;
    command->bytes = std::min<u64>(buffers[0].iov_len, kMaxPayload);
    return r.op == DiskOp::read
               ? ::nbd_aio_pread(nbd_, buffers[0].iov_base, command->bytes, offset, callback, 0)
               : ::nbd_aio_pwrite(nbd_, buffers[0].iov_base, command->bytes, offset, callback, fua);
  }
  if (r.op == DiskOp::flush) return ::nbd_aio_flush(nbd_, callback, 0);
  command->bytes = std::min(task.transfer.left(), kMaxRange);
  if (r.op == DiskOp::discard) return ::nbd_aio_trim(nbd_, command->bytes, offset, callback, 0);
  const u32 keep = r.unmap && geometry_.discard ? 0 : LIBNBD_CMD_FLAG_NO_HOLE;
  return ::nbd_aio_zero(nbd_, command->bytes, offset, callback, fua | keep);
}

// Within libnbd, on the queue's thread. 1: libnbd forgets the command.
int NbdEngine::on_complete(void* data, int* error) {
  auto* command = static_cast<Command*>(data);
  command->engine->completed(*command->task, command->bytes, *error);
  delete command;
  return 1;
}

// Goes on with a request's rest from run(), not from within libnbd.
void NbdEngine::completed(DiskTask& task, u64 moved, int error) {
  const bool flush = task.request.op == DiskOp::flush;
  if (error == 0 && !flush && !task.transfer.advance(moved)) error = EIO;
  task.stage = error == 0 && !flush && task.transfer.left() > 0 ? 1 : 0;
  ended_.push_back({&task, error});
}

// True: the bell was rung.
bool NbdEngine::wait(bool block) {
  const unsigned direction = ::nbd_aio_get_direction(nbd_);
  std::array<pollfd, 2> fds{};
  fds[0] = {bell_.get(), POLLIN, 0};
  fds[1] = {::nbd_aio_get_fd(nbd_), 0, 0};
  if ((direction & LIBNBD_AIO_DIRECTION_READ) != 0) fds[1].events |= POLLIN;
  if ((direction & LIBNBD_AIO_DIRECTION_WRITE) != 0) fds[1].events |= POLLOUT;
  const int limit_ms = again_.empty() ? -1 : static_cast<int>(kRetry.count());
  if (::poll(fds.data(), fds.size(), block ? limit_ms : 0) <= 0) return false;
  u64 times = 0;
  const bool rung = fds[0].revents != 0 && ::read(bell_.get(), &times, sizeof(times)) > 0;
  // A connection that dies fails all its commands in these, and has no descriptor from then on.
  const auto came = fds[1].revents;
  if ((came & ~POLLOUT) != 0 && (direction & LIBNBD_AIO_DIRECTION_READ) != 0) {
    ::nbd_aio_notify_read(nbd_);
  } else if (came != 0 && (direction & LIBNBD_AIO_DIRECTION_WRITE) != 0) {
    ::nbd_aio_notify_write(nbd_);
  }
  return rung;
}

bool NbdEngine::run(bool block, std::vector<EndedTask>& ended) {
  const bool rung = wait(block && ended_.empty());
  const bool lost = is_lost();
  std::vector<EndedTask> now;
  now.swap(ended_);
  for (const EndedTask& e : now) {
    // A server that is about to end answers ESHUTDOWN, then hangs up.
    const bool unanswered = e.error != 0 && (lost || e.error == ESHUTDOWN) && !given_up_;
    if (unanswered) {
      again_.push_back(e.task);
    } else if (e.task->stage == 0) {
      ended.push_back(e);
    } else {
      e.task->stage = 0;
      issue(*e.task);
    }
  }
  if (!again_.empty() && is_lost()) reconnect();
  return rung;
}

}  // namespace dvm::srt
