#include "tools/control_server.h"

#include <sys/stat.h>

namespace dvm::tools {
namespace {

constexpr std::chrono::milliseconds kLastCall{300}, kAcceptPause{100};

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::start(vmm::Machine& machine,
                                                            ControlReach reach,
                                                            const std::string& path) {
  std::unique_ptr<ControlServer> server(new ControlServer(machine, reach));
  DVM_TRY(server->listen(path));
  server->thread_ = std::thread([s = server.get()] {
    s->accept();
    s->io_.run();
  });
  return server;
}

Status ControlServer::listen(const std::string& path) {
  using asio::local::stream_protocol;
  asio::error_code failure;
  acceptor_.open(stream_protocol(), failure);
  if (!failure) acceptor_.bind(stream_protocol::endpoint(path), failure);
  if (!failure && ::chmod(path.c_str(), 0600) < 0) failure.assign(errno, asio::system_category());
  if (!failure) acceptor_.listen(asio::socket_base::max_listen_connections, failure);
  if (failure) return error("control socket: {}", failure.message());
  return {};
}

ControlServer::~ControlServer() {
  if (!thread_.joinable()) return;
  asio::post(io_, [this] { close(); });
  thread_.join();
}

void ControlServer::accept() {
  acceptor_.async_accept([this](const asio::error_code& failure, ControlClient::Socket socket) {
    if (!acceptor_.is_open()) return;
    if (failure) {  // out of descriptors, say: not a reason to spin
      last_call_.expires_after(kAcceptPause);
      last_call_.async_wait([this](const asio::error_code& cancelled) {
        if (!cancelled) accept();
      });
      return;
    }
    const auto client = std::make_shared<ControlClient>(
        std::move(socket), machine_, reach_.parts,
        [this](const auto& closed) { client_closed(closed); },
        [this](ControlClient::Socket s, const ConsoleWish& wish, std::string typed) {
          attach(std::move(s), wish, std::move(typed));
        });
    const bool full = clients_.size() + consoles_.size() >= kMaxClients;
    clients_.insert(client);
    if (full) {
      client->refuse("16 clients are connected already");
    } else {
      client->read_request();
    }
    accept();
  });
}

void ControlServer::events_written() {
  asio::post(io_, [this] {
    // A copy: a client whose connection broke takes itself off.
    for (const auto& client : std::set(clients_)) client->send_events();
  });
}

void ControlServer::client_closed(const std::shared_ptr<ControlClient>& client) {
  clients_.erase(client);
  stop_if_empty();
}

void ControlServer::attach(ControlClient::Socket socket, const ConsoleWish& wish,
                           std::string typed) {
  const bool virtio = wish.port == vmm::ConsolePort::virtio && reach_.virtio;
  const ConsoleEnds console = virtio ? *reach_.virtio : reach_.serial;
  const auto stream = std::make_shared<ConsoleStream>(
      std::move(socket), console, console.feed.back(wish.history), [this](const auto& closed) {
        consoles_.erase(closed);
        stop_if_empty();
      });
  consoles_.insert(stream);
  stream->start(std::move(typed));
  if (!acceptor_.is_open()) stream->close_when_sent();
}

void ControlServer::console_fed() {
  asio::post(io_, [this] {
    for (const auto& console : std::set(consoles_)) console->send_more();
  });
}

void ControlServer::stop_if_empty() {
  if (!acceptor_.is_open() && clients_.empty() && consoles_.empty()) io_.stop();
}

void ControlServer::close() {
  asio::error_code ignored;
  acceptor_.close(ignored);
  for (const auto& client : std::set(clients_)) client->close_when_sent();
  for (const auto& console : std::set(consoles_)) console->close_when_sent();
  last_call_.expires_after(kLastCall);
  last_call_.async_wait([this](const asio::error_code&) { io_.stop(); });
  stop_if_empty();
}

}  // namespace dvm::tools
