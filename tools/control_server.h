// A guest's control socket.
#pragma once

#include <asio.hpp>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "vmm/machine.h"

namespace dvm::tools {

class ControlClient;

// Serves on a thread of its own: a request that takes a while keeps no one but other clients
// waiting.
class ControlServer {
 public:
  static constexpr std::size_t kMaxClients = 16;

  // Makes the socket at `path`.
  static Result<std::unique_ptr<ControlServer>> start(vmm::Machine& machine,
                                                      const std::string& path);
  // Followers get the last events first.
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  // There are new events for those who follow. Threads: any.
  void events_written();

 private:
  explicit ControlServer(vmm::Machine& machine)
      : machine_(machine), acceptor_(io_), last_call_(io_) {}
  Status listen(const std::string& path);
  void accept();
  void client_closed(const std::shared_ptr<ControlClient>& client);
  void close();

  vmm::Machine& machine_;
  asio::io_context io_;
  asio::local::stream_protocol::acceptor acceptor_;
  asio::steady_timer last_call_;
  std::set<std::shared_ptr<ControlClient>> clients_;
  std::thread thread_;
};

}  // namespace dvm::tools
