#include "tools/bench/service_probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <deque>
#include <vector>

#include "fabric/fd.h"

namespace dvm::tools {
namespace {

constexpr std::size_t kConnections = 6;  // fewer than sshd bears of people who say nothing
constexpr auto kBetween = std::chrono::milliseconds(1000);
constexpr int kLookMs = 100;

sockaddr_in here(u16 port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

Fd connection(u16 port) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const sockaddr_in address = here(port);
  (void)::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  return fd;
}

// True once one of them has brought something; those that were closed are dropped.
bool any_speaks(std::deque<Fd>& connections) {
  std::vector<pollfd> fds;
  for (const Fd& fd : connections) fds.push_back({fd.get(), POLLIN, 0});
  ::poll(fds.data(), fds.size(), kLookMs);
  for (std::size_t i = fds.size(); i-- > 0;) {
    if (fds[i].revents == 0) continue;
    char byte = 0;
    if (::recv(fds[i].fd, &byte, 1, MSG_DONTWAIT) == 1) return true;
    connections.erase(connections.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return false;
}

}  // namespace

void ServiceProbe::start() {
  if (!thread_.joinable()) thread_ = std::thread([this] { look(); });
}

void ServiceProbe::stop() {
  ending_.store(true);
  if (thread_.joinable()) thread_.join();
}

// A slow guest may take longer to greet than we wait before we try once more: the older
// connections stay.
void ServiceProbe::look() {
  std::deque<Fd> connections;
  Clock::time_point next = Clock::now();
  while (!ending_.load()) {
    if (Clock::now() >= next) {
      if (connections.size() == kConnections) connections.pop_front();
      connections.push_back(connection(port_));
      next = Clock::now() + kBetween;
    }
    if (!any_speaks(connections)) continue;
    answered_.store(Clock::now().time_since_epoch().count());
    return;
  }
}

std::optional<ServiceProbe::Clock::time_point> ServiceProbe::answered() const {
  const Clock::rep at = answered_.load();
  if (at == 0) return std::nullopt;
  return Clock::time_point(Clock::duration(at));
}

Result<u16> free_port() {
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = here(0);
  socklen_t size = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (!fd.valid() || ::bind(fd.get(), any, size) < 0 || ::getsockname(fd.get(), any, &size) < 0)
    return sys_error("a port");
  return ntohs(address.sin_port);
}

}  // namespace dvm::tools
