#include "tools/console_client.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <nlohmann/json.hpp>

#include "tools/escape_keys.h"
#include "tools/message.h"
#include "tools/terminal.h"

namespace dvm::tools {
namespace {

constexpr std::size_t kMaxPending = 64 * 1024;
constexpr std::string_view kConsoleKeys =
    "Ctrl-A x  leave the console; the guest goes on\n"
    "Ctrl-A h  this help\n"
    "Ctrl-A w  type this window's size, as a stty command for the guest's shell\n"
    "Ctrl-A a  type Ctrl-A itself\n";

// A descriptor that is readable when the terminal's size has changed.
Result<Fd> window_changes() {
  sigset_t changed;
  ::sigemptyset(&changed);
  ::sigaddset(&changed, SIGWINCH);
  ::sigprocmask(SIG_BLOCK, &changed, nullptr);
  Fd fd(::signalfd(-1, &changed, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return sys_error("signalfd");
  return fd;
}

// On a connection of its own, as the console's is no longer one of requests. What fails is of no
// consequence.
void tell_size(const RunningGuest& guest) {
  const auto size = window_size();
  if (!size) return;
  auto connection = GuestConnection::open(guest);
  if (!connection) return;
  (void)connection->ask(
      {{"command", "console-size"}, {"columns", size->columns}, {"rows", size->rows}});
}

class ConsoleClient {
 public:
  // `resized`, if there is something to do about it, is called when the terminal's size has
  // changed.
  ConsoleClient(Fd socket, bool keys, std::function<void()> resized)
      : socket_(std::move(socket)), keys_(keys), resized_(std::move(resized)) {}

  Status run(std::string_view shown_first);
  bool guest_ended() const { return ended_; }

 private:
  Status read_socket();
  Status read_stdin();
  Status send_pending();
  static Status show(std::string_view text);
  void carry_out(KeyCommand command);

  Fd socket_;
  const bool keys_;
  const std::function<void()> resized_;
  EscapeKeys escape_;
  std::string pending_;  // typed, not sent
  bool typing_ = true;   // stdin has not ended
  bool ended_ = false;
  bool left_ = false;
};

Status ConsoleClient::run(std::string_view shown_first) {
  DVM_TRY(show(shown_first));
  Fd sizes;  // of SIGWINCH
  if (resized_) {
    DVM_ASSIGN(sizes, window_changes());
    resized_();
  }
  while (!ended_ && !left_) {
    // A terminal is read on, for the sake of its keys; a pipe waits for room.
    const bool reads = typing_ && (keys_ || pending_.empty());
    const auto writes = static_cast<short>(pending_.empty() ? 0 : POLLOUT);
    std::array<pollfd, 3> watched = {{{socket_.get(), static_cast<short>(POLLIN | writes), 0},
                                      {reads ? STDIN_FILENO : -1, POLLIN, 0},
                                      {sizes.get(), POLLIN, 0}}};
    if (::poll(watched.data(), watched.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return sys_error("poll");
    }
    if ((watched[0].revents & ~POLLOUT) != 0) DVM_TRY(read_socket());
    if (watched[1].revents != 0) DVM_TRY(read_stdin());
    if (watched[2].revents != 0) {
      signalfd_siginfo info{};
      if (::read(sizes.get(), &info, sizeof(info)) > 0) resized_();
    }
    if (!pending_.empty() && !ended_) DVM_TRY(send_pending());
  }
  return {};
}

Status ConsoleClient::read_socket() {
  std::array<char, 16384> part;
  const ssize_t n = ::recv(socket_.get(), part.data(), part.size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return {};
  if (n < 0 && errno != ECONNRESET) return sys_error("recv");
  ended_ = n <= 0;
  return n > 0 ? show({part.data(), static_cast<std::size_t>(n)}) : Status();
}

Status ConsoleClient::read_stdin() {
  std::array<char, 4096> part;
  const ssize_t n = ::read(STDIN_FILENO, part.data(), part.size());
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return {};
  if (n <= 0) {
    typing_ = false;
    left_ = keys_;  // the terminal is gone
    return {};
  }
  const std::string_view typed(part.data(), static_cast<std::size_t>(n));
  if (!keys_) {
    pending_ += typed;
    return {};
  }
  const KeyCommand command = escape_.filter(typed, pending_);
  if (pending_.size() > kMaxPending) pending_.resize(kMaxPending);  // nobody reads it
  carry_out(command);
  return {};
}

void ConsoleClient::carry_out(KeyCommand command) {
  switch (command) {
    case KeyCommand::none: return;
    case KeyCommand::quit: left_ = true; return;
    case KeyCommand::size: pending_ += window_size_command(); return;
    case KeyCommand::help: say_lines("dvm-ctl", kConsoleKeys); return;
  }
}

Status ConsoleClient::send_pending() {
  const ssize_t n =
      ::send(socket_.get(), pending_.data(), pending_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n >= 0) pending_.erase(0, static_cast<std::size_t>(n));
  // A connection that broke is seen by reading, after what it still has to say.
  if (n < 0 && errno == EPIPE) pending_.clear();
  return {};
}

Status ConsoleClient::show(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n < 0 && errno == EAGAIN) {  // whoever shares it with us has made it so
      pollfd writable{STDOUT_FILENO, POLLOUT, 0};
      ::poll(&writable, 1, -1);
    } else if (n < 0 && errno != EINTR) {
      return sys_error("write stdout");
    } else if (n > 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  return {};
}

}  // namespace

Status run_console(GuestConnection connection, const RunningGuest& guest, u64 history_bytes,
                   const std::optional<std::string>& port) {
  nlohmann::json request = {{"command", "console"}, {"history", history_bytes}};
  if (port) request["port"] = *port;
  const auto reply = connection.ask(request);
  if (!reply) return reply.error();
  const bool keys = RawTerminal::usable();
  std::optional<RawTerminal> raw;
  if (keys) {
    say_line("dvm-ctl",
             guest.name + ": console; Ctrl-A x leaves it and the guest goes on, Ctrl-A h helps");
    DVM_ASSIGN(auto entered, RawTerminal::enter());
    raw.emplace(std::move(entered));
  }
  auto stream = std::move(connection).release();
  std::function<void()> resized;
  if (keys && reply->value("port", "") == "virtio") resized = [&guest] { tell_size(guest); };
  ConsoleClient client(std::move(stream.fd), keys, std::move(resized));
  const Status status = client.run(stream.received);
  raw.reset();
  if (status.ok() && client.guest_ended())
    say_line("dvm-ctl", guest.name + ": the guest has ended");
  if (status.ok() && keys && !client.guest_ended())
    say_line("dvm-ctl", guest.name + ": console left");
  return status;
}

}  // namespace dvm::tools
