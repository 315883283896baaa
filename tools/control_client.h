// One connection to a guest's control socket, on the side of the guest.
#pragma once

#include <asio.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "tools/control_protocol.h"
#include "tools/long_request.h"
#include "vmm/machine.h"

namespace dvm::tools {

struct ConsoleWish {
  vmm::ConsolePort port = vmm::ConsolePort::serial;
  std::size_t history = 0;  // bytes of what was printed before
};

// Requests are answered one after the other; the next is read once the last reply has been taken,
// so a client that does not read holds no memory of ours. Threads: the server's.
class ControlClient : public std::enable_shared_from_this<ControlClient> {
 public:
  using Socket = asio::local::stream_protocol::socket;
  using OnClosed = std::function<void(const std::shared_ptr<ControlClient>&)>;
  // Takes the connection over as a console: as was asked for, and what the client has typed
  // already.
  using OnConsole = std::function<void(Socket, const ConsoleWish&, std::string typed)>;

  ControlClient(Socket socket, vmm::Machine& machine, const RequestParts& parts, OnClosed on_closed,
                OnConsole on_console);
  ~ControlClient();
  void read_request();
  // Says why and closes.
  void refuse(const std::string& why);
  // Sends what is new to a client that follows and is ready for more.
  void send_events();
  // After what is on its way, and the last events for one that follows.
  void close_when_sent();

 private:
  void answer(const std::string& line);
  void answer_later(const std::string& line);
  void answered(const std::string& text);
  RequestListener job_listener(const std::string& path);
  void job_done(const std::string& path, const Status& status);
  void send(std::string text);
  void sent();
  void close();

  Socket socket_;
  vmm::Machine& machine_;
  const RequestParts parts_;
  OnClosed on_closed_;
  OnConsole on_console_;
  std::string received_;
  std::string sending_;
  std::string last_line_;  // to be sent when sending_ is
  std::optional<ConsoleWish> console_;
  std::optional<u64> follows_;  // the last sequence sent
  bool busy_ = false;           // sending_ is on its way
  bool closing_ = false;
  bool watches_hang_up_ = false;
  std::unique_ptr<LongRequest> job_;  // last: its thread uses the others
  std::thread work_;                  // on a request that takes long
};

}  // namespace dvm::tools
