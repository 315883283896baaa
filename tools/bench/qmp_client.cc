#include "tools/bench/qmp_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <thread>

#include "tools/bench/unix_client.h"
#include "tools/json_text.h"

namespace dvm::tools {
namespace {

using nlohmann::json;

constexpr int kReplyLimitMs = 60'000, kSocketTries = 600;
constexpr std::chrono::milliseconds kNap{100};

Result<Fd> connect_to(const std::string& path) {
  for (int i = 0; i < kSocketTries; ++i) {
    auto fd = connect_unix(path);
    if (fd.ok()) return fd;
    std::this_thread::sleep_for(kNap);
  }
  return error("socket {}: nobody answers", path);
}

}  // namespace

Result<QmpClient> QmpClient::open(const std::string& path) {
  DVM_ASSIGN(Fd fd, connect_to(path));
  QmpClient client(std::move(fd));
  DVM_ASSIGN(const json greeting, client.read_message());
  if (!greeting.contains("QMP")) return error("socket {}: that is no QEMU", path);
  const auto ready = client.ask("qmp_capabilities");
  if (!ready.ok()) return ready.error();
  return client;
}

Result<json> QmpClient::ask(const std::string& command, const json& arguments) {
  const std::string line = to_line({{"execute", command}, {"arguments", arguments}}) + "\n";
  if (::send(fd_.get(), line.data(), line.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(line.size()))
    return sys_error("send to QEMU's monitor");
  for (;;) {
    DVM_ASSIGN(const json message, read_message());
    if (message.contains("return")) return message.at("return");
    if (message.contains("error")) return error("QEMU: {}: {}", command, shown(message["error"]));
  }
}

Result<json> QmpClient::read_message() {
  for (;;) {
    const std::size_t end = received_.find('\n');
    if (end != std::string::npos) {
      json message = parse_json(std::string_view(received_).substr(0, end));
      received_.erase(0, end + 1);
      if (!message.is_object()) return error("QEMU's monitor: {}", shown(message));
      return message;
    }
    pollfd readable{fd_.get(), POLLIN, 0};
    if (::poll(&readable, 1, kReplyLimitMs) <= 0) return error("QEMU's monitor does not answer");
    std::array<char, 4096> part;
    const ssize_t n = ::read(fd_.get(), part.data(), part.size());
    if (n <= 0) return error("QEMU's monitor has gone");
    received_.append(part.data(), static_cast<std::size_t>(n));
  }
}

}  // namespace dvm::tools
