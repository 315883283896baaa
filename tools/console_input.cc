#include "tools/console_input.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace dvm::tools {

Result<std::unique_ptr<ConsoleInput>> ConsoleInput::start(
    TypedInput& typed, int fd, bool keys, std::function<void(KeyCommand)> on_command) {
  Fd quit(::eventfd(0, EFD_CLOEXEC));
  if (!quit.valid()) return sys_error("eventfd");
  std::unique_ptr<ConsoleInput> input(
      new ConsoleInput(typed, fd, keys, std::move(on_command), std::move(quit)));
  input->thread_ = std::thread([self = input.get()] { self->run(); });
  return input;
}

ConsoleInput::ConsoleInput(TypedInput& typed, int fd, bool keys,
                           std::function<void(KeyCommand)> on_command, Fd quit)
    : typed_(typed),
      fd_(fd),
      keys_(keys),
      on_command_(std::move(on_command)),
      quit_(std::move(quit)) {}

ConsoleInput::~ConsoleInput() {
  quitting_ = true;
  typed_.wake();
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

void ConsoleInput::take(std::string_view text) {
  if (keys_) {
    std::string for_guest;
    const KeyCommand command = escape_.filter(text, for_guest);
    typed_.type(for_guest);  // what nobody takes is dropped, as a UART would
    if (command != KeyCommand::none) on_command_(command);
    return;
  }
  while (!quitting_) {
    text.remove_prefix(typed_.type(text));
    if (text.empty()) return;
    typed_.wait_for_room([this] { return quitting_.load(); });
  }
}

}  // namespace dvm::tools
