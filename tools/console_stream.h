// One who looks at the guest's console over a socket, and types.
#pragma once

#include <asio.hpp>
#include <functional>
#include <memory>
#include <string>

#include "tools/console_feed.h"
#include "tools/typed_input.h"

namespace dvm::tools {

// The launcher's two ends of the guest's console.
struct ConsoleEnds {
  const ConsoleFeed& feed;
  TypedInput& typed;
};

// The guest never waits for it: a client that reads slowly misses what has left the feed before it
// came to it, and is told so in the stream, where it happened. What it types is taken as fast as
// the guest reads. Threads: the socket's executor's, all functions.
class ConsoleStream : public std::enable_shared_from_this<ConsoleStream> {
 public:
  using Socket = asio::local::stream_protocol::socket;
  using OnClosed = std::function<void(const std::shared_ptr<ConsoleStream>&)>;

  ConsoleStream(Socket socket, ConsoleEnds console, u64 cursor, OnClosed on_closed);
  // `typed`: what the client had sent already.
  void start(std::string typed);
  // The feed has more.
  void send_more();
  // After all that the feed has.
  void close_when_sent();
  // The number of the first byte that was not sent.
  u64 cursor() const { return cursor_; }

 private:
  void read();
  void watch_hang_up();
  void type();
  void close();

  Socket socket_;
  const ConsoleEnds console_;
  u64 cursor_;
  OnClosed on_closed_;
  asio::steady_timer pause_;
  std::array<char, 1024> part_{};
  std::string received_;  // not typed yet
  std::string sending_;
  bool busy_ = false;  // sending_ is on its way
  bool closing_ = false;
};

}  // namespace dvm::tools
