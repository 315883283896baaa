// --gdb: a listening socket on which gdb finds the guest. One gdb at a time.
#pragma once

#include <memory>
#include <thread>

#include "tools/bell_watcher.h"
#include "tools/gdb_packet.h"
#include "tools/gdb_stub.h"
#include "tools/gdb_target.h"
#include "tools/socket_path.h"

namespace dvm::tools {

// gdb's coming stops the guest, its going lets it run. Serves on a thread of its own.
class GdbServer {
 public:
  // An error names --gdb and what is wrong.
  static Result<std::unique_ptr<GdbServer>> start(vmm::Machine& machine, const GdbTarget& target);
  ~GdbServer();
  GdbServer(const GdbServer&) = delete;
  GdbServer& operator=(const GdbServer&) = delete;

 private:
  GdbServer(vmm::Machine& machine, Fd wake);
  Status listen(const GdbTarget& target);
  void run();
  void serve();
  bool stop_guest();  // false: gdb or the guest has gone meanwhile
  bool take_input();
  bool take_packets();
  bool carry_out(const std::string& packet);
  bool send(std::string_view text);
  bool reply(std::string_view text);
  // Sleeps until the socket, if it is wanted, has something, or the machine has changed.
  bool wait(const Fd& socket);

  vmm::Machine& machine_;
  std::optional<ListeningSocket> at_path_;
  Fd listening_;
  Fd wake_;  // an eventfd: the machine has changed, or we are to end
  Fd client_;
  std::optional<DebuggedMachine> debugged_;
  std::optional<GdbStub> stub_;
  GdbPackets packets_;
  std::string last_;      // to be sent again if it is refused
  bool running_ = false;  // as gdb knows it
  std::atomic<bool> ending_{false};
  std::optional<BellWatcher> watcher_;
  std::thread thread_;
};

}  // namespace dvm::tools
