// A guest's control socket.
#pragma once

#include <asio.hpp>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "tools/console_stream.h"
#include "tools/control_client.h"
#include "vmm/machine.h"

namespace dvm::tools {

// What requests reach beside the machine, and outlives the server.
struct ControlReach {
  ConsoleEnds serial;
  std::optional<ConsoleEnds> virtio = std::nullopt;  // the virtio console, if there is one
  RequestParts parts = {};
};

// Serves on a thread of its own. Moves and what nodes are asked for have another for each request;
// `pause`, which takes a moment, keeps no one but other clients waiting.
class ControlServer {
 public:
  static constexpr std::size_t kMaxClients = 16;

  // Makes the socket at `path`.
  static Result<std::unique_ptr<ControlServer>> start(vmm::Machine& machine, ControlReach reach,
                                                      const std::string& path);
  // Followers get the last events first.
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  // There are new events for those who follow. Threads: any.
  void events_written();
  // The console's feed has more. Threads: any.
  void console_fed();

 private:
  ControlServer(vmm::Machine& machine, ControlReach reach)
      : machine_(machine), reach_(reach), acceptor_(io_), last_call_(io_) {}
  Status listen(const std::string& path);
  void accept();
  void client_closed(const std::shared_ptr<ControlClient>& client);
  // The client asked for the console: from here on its connection is one.
  void attach(ControlClient::Socket socket, const ConsoleWish& wish, std::string typed);
  void close();
  void stop_if_empty();

  vmm::Machine& machine_;
  const ControlReach reach_;
  asio::io_context io_;
  asio::local::stream_protocol::acceptor acceptor_;
  asio::steady_timer last_call_;
  std::set<std::shared_ptr<ControlClient>> clients_;
  std::set<std::shared_ptr<ConsoleStream>> consoles_;
  std::thread thread_;
};

}  // namespace dvm::tools
