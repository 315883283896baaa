#include "tools/gdb_server.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "tools/message.h"

namespace dvm::tools {
namespace {

constexpr int kSendTimeoutMs = 10'000;

void wake(const Fd& event) {
  const u64 one = 1;
  while (::write(event.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

void calm(const Fd& event) {
  u64 count = 0;
  while (::read(event.get(), &count, sizeof(count)) < 0 && errno == EINTR) {
  }
}

Result<Fd> listen_tcp(const GdbTarget& target) {
  sockaddr_storage address{};
  auto* four = reinterpret_cast<sockaddr_in*>(&address);
  auto* six = reinterpret_cast<sockaddr_in6*>(&address);
  socklen_t bytes = sizeof(sockaddr_in);
  if (::inet_pton(AF_INET, target.host.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(target.port);
  } else {
    ::inet_pton(AF_INET6, target.host.c_str(), &six->sin6_addr);
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(target.port);
    bytes = sizeof(sockaddr_in6);
  }
  Fd fd(::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (fd.valid()) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (!fd.valid() || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), bytes) < 0 ||
      ::listen(fd.get(), 1) < 0)
    return error("tcp:{}:{}: {}", target.host, target.port, std::strerror(errno));
  return fd;
}

}  // namespace

GdbServer::GdbServer(vmm::Machine& machine, Fd wake_fd)
    : machine_(machine), wake_(std::move(wake_fd)) {}

Result<std::unique_ptr<GdbServer>> GdbServer::start(vmm::Machine& machine,
                                                    const GdbTarget& target) {
  Fd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.valid()) return sys_error("eventfd");
  std::unique_ptr<GdbServer> server(new GdbServer(machine, std::move(event)));
  if (const auto listening = server->listen(target); !listening.ok())
    return error("--gdb: {}", listening.error().message);
  server->watcher_.emplace(machine.state().control.changed, [s = server.get()] {
    wake(s->wake_);
    return std::optional<u64>();
  });
  server->thread_ = std::thread([s = server.get()] { s->run(); });
  return server;
}

Status GdbServer::listen(const GdbTarget& target) {
  if (target.path.empty()) {
    DVM_ASSIGN(listening_, listen_tcp(target));
    return {};
  }
  DVM_ASSIGN(auto socket, ListeningSocket::open(target.path));
  listening_ = socket.take_fd();
  at_path_.emplace(std::move(socket));
  return {};
}

GdbServer::~GdbServer() {
  if (!thread_.joinable()) return;
  ending_ = true;
  wake(wake_);
  thread_.join();
}

bool GdbServer::wait(const Fd& socket) {
  std::array<pollfd, 2> watched = {{{socket.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
  while (::poll(watched.data(), watched.size(), -1) < 0 && errno == EINTR) {
  }
  if (watched[1].revents != 0) calm(wake_);
  return watched[0].revents != 0;
}

void GdbServer::run() {
  while (!ending_) {
    if (!wait(listening_) || ending_) continue;
    client_ = Fd(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client_.valid()) continue;
    const int on = 1;
    ::setsockopt(client_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));  // not of a Unix socket
    packets_ = {};
    debugged_.emplace(machine_);
    stub_.emplace(*debugged_);
    serve();
    client_.reset();
  }
}

void GdbServer::serve() {
  say("gdb is there: the guest is stopped");
  debugged_->attach();
  running_ = false;
  while (stop_guest() && take_input()) {
  }
  if (debugged_->ended()) (void)reply("W00");
  // A guest that still runs is stopped once more, to take out what is in its memory.
  running_ = false;
  if (!ending_) (void)stop_guest();
  debugged_->detach();
  say("gdb has left");
}

// As long as gdb takes the guest to be stopped, it is: also if somebody else has let it go on.
bool GdbServer::stop_guest() {
  while (!running_ && !debugged_->stopped()) {
    if (ending_ || debugged_->ended()) return false;
    debugged_->stop();
    if (!debugged_->stopped()) (void)wait(Fd());
  }
  return !ending_ && !debugged_->ended();
}

bool GdbServer::take_input() {
  const bool input = wait(client_);
  if (running_ && debugged_->stopped()) {
    running_ = false;
    if (!reply(stub_->stop_reply())) return false;
  }
  if (!input) return true;
  std::array<char, 4096> part;
  const ssize_t n = ::recv(client_.get(), part.data(), part.size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  if (n <= 0) return false;
  packets_.received({part.data(), static_cast<std::size_t>(n)});
  return take_packets();
}

bool GdbServer::take_packets() {
  while (const auto item = packets_.next()) {
    switch (item->kind) {
      case GdbPackets::Kind::interrupt: debugged_->stop(); break;
      case GdbPackets::Kind::acknowledged: break;
      case GdbPackets::Kind::refused:
        if (!send(last_)) return false;
        break;
      case GdbPackets::Kind::bad:
        if (!send("-")) return false;
        break;
      case GdbPackets::Kind::packet:
        if (stub_->acknowledges() && !send("+")) return false;
        if (!carry_out(item->text)) return false;
    }
  }
  return true;
}

bool GdbServer::carry_out(const std::string& packet) {
  if (running_) return true;  // it is not gdb's turn
  const GdbStub::Answer answer = stub_->handle(packet);
  if (answer.reply && !reply(*answer.reply)) return false;
  if (answer.then == GdbStub::Then::leave) return false;
  if (answer.then == GdbStub::Then::run) {
    running_ = true;
    debugged_->resume();
  }
  return true;
}

bool GdbServer::reply(std::string_view text) {
  last_ = GdbPackets::frame(text);
  return send(last_);
}

bool GdbServer::send(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::send(client_.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) text.remove_prefix(static_cast<std::size_t>(n));
    if (n >= 0 || errno == EINTR) continue;
    pollfd writable{client_.get(), POLLOUT, 0};
    if (errno != EAGAIN || ::poll(&writable, 1, kSendTimeoutMs) == 0) return false;
  }
  return true;
}

}  // namespace dvm::tools
