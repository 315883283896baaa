#include "tools/guest_console.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "tools/message.h"

namespace dvm::tools {

Result<std::unique_ptr<GuestConsole>> GuestConsole::open(vmm::Machine& machine,
                                                         const SerialTarget& target,
                                                         vmm::ConsolePort port) {
  std::unique_ptr<GuestConsole> console(new GuestConsole(machine, target, port));
  DVM_TRY(console->open_target());
  return console;
}

Status GuestConsole::open_target() {
  switch (target_.kind) {
    case SerialKind::stdio: {
      DVM_ASSIGN(output_, ConsoleOutput::open(STDOUT_FILENO));
      return {};
    }
    case SerialKind::file: {
      // O_NONBLOCK: a pipe must not keep us waiting for who reads it.
      auto file = Fd::open(target_.path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK, 0644);
      if (!file) return usage_error("{}: {}", option(), file.error().message);
      file_ = file.take();
      DVM_ASSIGN(output_, ConsoleOutput::open(file_.get()));
      return {};
    }
    case SerialKind::unix_: {
      auto socket = SerialSocket::start(target_.path, ends());
      if (!socket) return error("{}: {}", option(), socket.error().message);
      socket_ = socket.take();
      return {};
    }
    case SerialKind::log: return {};
  }
  return {};
}

Status GuestConsole::read_stdin(std::function<void(KeyCommand)> on_command) {
  if (target_.kind != SerialKind::stdio) return {};
  const bool is_terminal = ::isatty(STDIN_FILENO) != 0;
  const bool keys = is_terminal && RawTerminal::usable();
  if (keys) {
    DVM_ASSIGN(auto raw, RawTerminal::enter());
    terminal_.emplace(std::move(raw));
  }
  if (is_terminal && !keys) return {};  // in the background: the keys are somebody else's
  tell_size();
  DVM_ASSIGN(input_, ConsoleInput::start(typed_, STDIN_FILENO, keys, std::move(on_command)));
  return {};
}

void GuestConsole::tell_size() const {
  if (port_ != vmm::ConsolePort::virtio || target_.kind != SerialKind::stdio) return;
  if (const auto size = window_size()) machine_.set_console_size(*size);
}

void GuestConsole::enter_terminal_again() const {
  if (terminal_) terminal_->enter_again();
}

// The first byte goes out at once; those that follow within a millisecond go together, so that a
// guest that prints a lot does not wake us for each.
std::optional<u64> GuestConsole::look(const std::function<void()>& fed) {
  std::array<char, 4096> part;
  bool any = false;
  while (const std::size_t n = machine_.console_output(port_, part)) {
    any = true;
    feed_.append(std::span(part).first(n));
    // Before the write, which may have to wait for a slow reader.
    if (socket_) socket_->fed();
    fed();
    write(std::span(part).first(n));
  }
  const auto retry = typed_.push();
  if (any) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return retry;
}

void GuestConsole::write(std::span<const char> bytes) {
  if (!output_) return;
  const Status written = output_->write(bytes);
  if (!written.ok()) {
    say("{}: {}{}: no more output is written there", option(),
        target_.path.empty() ? "stdout" : target_.path, ": " + written.error().message);
  }
}

void GuestConsole::give_up() {
  if (output_) output_->give_up();
}

}  // namespace dvm::tools
