#include "tools/console_input.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace dvm::tools {
namespace {

constexpr std::size_t kMaxWaiting = 64 * 1024;
constexpr u64 kFirstRetryNs = 10'000'000, kLastRetryNs = 320'000'000;

}  // namespace

Result<std::unique_ptr<ConsoleInput>> ConsoleInput::start(
    vmm::Machine& machine, int fd, bool keys, std::function<void(KeyCommand)> on_command) {
  Fd quit(::eventfd(0, EFD_CLOEXEC));
  if (!quit.valid()) return sys_error("eventfd");
  std::unique_ptr<ConsoleInput> input(
      new ConsoleInput(machine, fd, keys, std::move(on_command), std::move(quit)));
  input->thread_ = std::thread([self = input.get()] { self->run(); });
  return input;
}

ConsoleInput::ConsoleInput(vmm::Machine& machine, int fd, bool keys,
                           std::function<void(KeyCommand)> on_command, Fd quit)
    : machine_(machine),
      fd_(fd),
      keys_(keys),
      on_command_(std::move(on_command)),
      retry_ns_(kFirstRetryNs),
      quit_(std::move(quit)) {}

ConsoleInput::~ConsoleInput() {
  {
    const std::lock_guard guard(mutex_);
    quitting_ = true;
  }
  room_.notify_all();
  const u64 one = 1;
  while (::write(quit_.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
  }
  thread_.join();
}

void ConsoleInput::run() {
  std::array<char, 4096> part;
  while (wait_readable()) {
    const ssize_t n = ::read(fd_, part.data(), part.size());
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return;
    take({part.data(), static_cast<std::size_t>(n)});
    wait_for_room();
  }
}

bool ConsoleInput::wait_readable() {
  for (;;) {
    std::array<pollfd, 2> watched = {{{fd_, POLLIN, 0}, {quit_.get(), POLLIN, 0}}};
    const int ready = ::poll(watched.data(), watched.size(), -1);
    if (ready < 0 && errno != EINTR) return false;
    if (quitting_ || (ready > 0 && watched[1].revents != 0)) return false;
    if (ready > 0 && watched[0].revents != 0) return true;
  }
}

void ConsoleInput::take(std::string_view typed) {
  std::string for_guest;
  KeyCommand command = KeyCommand::none;
  if (keys_) {
    command = escape_.filter(typed, for_guest);
  } else {
    for_guest = typed;
  }
  bool held = false;
  {
    const std::lock_guard guard(mutex_);
    // Only a terminal gets here with the room used up: what nobody takes is dropped, as a UART
    // would.
    const std::size_t room = kMaxWaiting - std::min(kMaxWaiting, waiting_.size());
    waiting_.append(for_guest, 0, keys_ ? room : std::string::npos);
    held = !push_locked();
  }
  if (held) fabric::ring(machine_.state().console.produced);  // whoever drains the console retries
  if (command != KeyCommand::none) on_command_(command);
}

void ConsoleInput::wait_for_room() {
  if (keys_) return;
  std::unique_lock lock(mutex_);
  room_.wait(lock, [this] { return waiting_.size() < kMaxWaiting || quitting_; });
}

std::optional<u64> ConsoleInput::push() {
  const std::lock_guard guard(mutex_);
  const std::size_t before = waiting_.size();
  if (push_locked()) {
    retry_ns_ = kFirstRetryNs;
    if (before != 0) room_.notify_all();
    return std::nullopt;
  }
  const bool moved = waiting_.size() < before;
  if (moved) room_.notify_all();
  retry_ns_ = moved ? kFirstRetryNs : std::min(retry_ns_ * 2, kLastRetryNs);
  return fabric::monotonic_ns() + retry_ns_;
}

bool ConsoleInput::push_locked() {
  auto& reader_waits = machine_.state().console.reader_waits;
  for (bool told = false; !waiting_.empty();) {
    const std::size_t typed = machine_.console_input(waiting_);
    waiting_.erase(0, typed);
    if (typed != 0) continue;
    if (told) return false;
    reader_waits.store(1);  // then look once more: room may have come in between
    told = true;
  }
  return true;
}

}  // namespace dvm::tools
