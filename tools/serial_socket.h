// --serial unix:PATH: the guest's serial port on a listening socket.
#pragma once

#include <asio.hpp>
#include <memory>
#include <thread>

#include "tools/console_stream.h"
#include "tools/socket_path.h"

namespace dvm::tools {

// One client at a time, as QEMU does; the next waits until it has gone. A client begins where the
// one before it ended, the first at the first byte: what is printed while there is none is kept as
// long as the feed keeps it. Serves on a thread of its own.
class SerialSocket {
 public:
  static Result<std::unique_ptr<SerialSocket>> start(const std::string& path, ConsoleEnds console);
  // The client gets the last bytes first, if it takes them within a moment.
  ~SerialSocket();
  SerialSocket(const SerialSocket&) = delete;
  SerialSocket& operator=(const SerialSocket&) = delete;

  // The feed has more. Threads: any.
  void fed();

 private:
  SerialSocket(ListeningSocket socket, ConsoleEnds console);
  void accept();
  void close();

  ListeningSocket listening_;
  const ConsoleEnds console_;
  asio::io_context io_;
  asio::local::stream_protocol::acceptor acceptor_;
  asio::steady_timer timer_;
  std::shared_ptr<ConsoleStream> client_;
  u64 cursor_ = 0;
  std::thread thread_;
};

}  // namespace dvm::tools
