#include "tools/guest_connection.h"
#include "tools/json_text.h"
#include "tools/node_requests.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

namespace dvm::tools {
namespace {

using nlohmann::json;

constexpr int kReplyTimeoutMs = 10'000, kForever = -1;
// Nodes that are emptied have as long as migration/evacuation.h and tools/node_requests.cc give
// them.
constexpr int kNodesTimeoutMs = 180'000;
constexpr std::size_t kMaxLine = 16 * kMiB;

}  // namespace

Result<GuestConnection> GuestConnection::open(const RunningGuest& guest) {
  // Through the folder's descriptor: a socket's own path may hold 107 characters only.
  DVM_ASSIGN(const Fd folder, Fd::open(guest.folder, O_RDONLY | O_DIRECTORY));
  const std::string path = fmt::format("/proc/self/fd/{}/control.sock", folder.get());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return sys_error("socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0) {
    return sys_error("connect " + guest.folder + "/control.sock");
  }
  return GuestConnection(guest.name, std::move(fd));
}

Result<json> GuestConnection::ask(const json& request,
                                  const std::function<void(const json&)>& progress) {
  const std::string line = to_line(request) + "\n";
  // A server that refuses us answers and hangs up before it reads: its answer is still there.
  if (::send(fd_.get(), line.data(), line.size(), MSG_NOSIGNAL) < 0 && errno != EPIPE &&
      errno != ECONNRESET) {
    return sys_error(name_ + ": send");
  }
  const bool takes_long = is_node_request(request.value("command", ""));
  json reply;
  do {
    DVM_ASSIGN(const auto text, read_line(takes_long ? kNodesTimeoutMs : kReplyTimeoutMs));
    if (!text) return error("{}: the guest ended before it answered", name_);
    reply = parse_json(*text);
    if (progress && reply.contains("progress")) progress(reply["progress"]);
  } while (progress && reply.contains("progress"));
  if (!reply.is_object() || !reply.contains("ok"))
    return error("{}: an answer that is none", name_);
  if (reply["ok"] != true) return error("{}: {}", name_, reply.value("error", "refused"));
  reply.erase("ok");
  return reply;
}

Result<std::optional<std::string>> GuestConnection::next_line() { return read_line(kForever); }

Result<std::optional<std::string>> GuestConnection::read_line(int timeout_ms) {
  std::array<char, 16384> part;
  for (std::size_t looked = 0;;) {
    if (const auto end = received_.find('\n', looked); end != std::string::npos) {
      std::string line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return std::optional(std::move(line));
    }
    looked = received_.size();
    if (looked > kMaxLine) return error("{}: an answer without end", name_);
    pollfd readable{fd_.get(), POLLIN, 0};
    const int ready = ::poll(&readable, 1, timeout_ms);
    if (ready == 0) return error("{}: no answer for {} s", name_, timeout_ms / 1000);
    const ssize_t n = ready < 0 ? -1 : ::recv(fd_.get(), part.data(), part.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != ECONNRESET) return sys_error(name_ + ": recv");
    if (n <= 0) return std::optional<std::string>();
    received_.append(part.data(), static_cast<std::size_t>(n));
  }
}

Result<RunningGuest> find_guest(const std::optional<std::string>& name) {
  const auto guests = running_guests();
  std::string names;
  for (const auto& guest : guests) {
    if (guest.name == name) return guest;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", guest.name);
  }
  if (guests.empty()) {
    return error("no guest{} is running", name ? " named " + *name : "");
  }
  if (name) return error("no guest named {} is running; there are: {}", *name, names);
  if (guests.size() == 1) return guests.front();
  return error("{} guests are running, --name NAME tells which: {}", guests.size(), names);
}

}  // namespace dvm::tools
