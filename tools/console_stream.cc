#include "tools/console_stream.h"

#include <fmt/format.h>
#include <poll.h>

namespace dvm::tools {
namespace {

constexpr std::size_t kSendBytes = 16 * 1024;
constexpr std::chrono::milliseconds kTypePause{20};

}  // namespace

ConsoleStream::ConsoleStream(Socket socket, ConsoleEnds console, u64 cursor, OnClosed on_closed)
    : socket_(std::move(socket)),
      console_(console),
      cursor_(cursor),
      on_closed_(std::move(on_closed)),
      pause_(socket_.get_executor()) {}

void ConsoleStream::start(std::string typed) {
  received_ = std::move(typed);
  send_more();
  type();
}

void ConsoleStream::send_more() {
  if (busy_ || !socket_.is_open()) return;
  auto part = console_.feed.read(cursor_, kSendBytes);
  if (part.lost != 0) {
    part.text.insert(0, fmt::format("\r\n[dvm: {} bytes of output are lost here: they were not "
                                    "read in time]\r\n",
                                    part.lost));
  }
  if (part.text.empty()) {
    if (closing_) close();
    return;
  }
  busy_ = true;
  sending_ = std::move(part.text);
  asio::async_write(socket_, asio::buffer(sending_),
                    [self = shared_from_this()](const asio::error_code& failure, std::size_t) {
                      self->busy_ = false;
                      if (failure) return self->close();
                      self->send_more();
                    });
}

void ConsoleStream::close_when_sent() {
  closing_ = true;
  send_more();
}

void ConsoleStream::read() {
  socket_.async_read_some(
      asio::buffer(part_),
      [self = shared_from_this()](const asio::error_code& failure, std::size_t bytes) {
        if (failure == asio::error::eof) return self->watch_hang_up();
        if (failure) return self->close();
        self->received_.assign(self->part_.data(), bytes);
        self->type();
      });
}

// One that has ended its sending may go on reading, as `echo reboot | socat` does.
void ConsoleStream::watch_hang_up() {
  pollfd hung_up{socket_.native_handle(), 0, 0};
  if (::poll(&hung_up, 1, 0) != 0) return close();
  socket_.async_wait(Socket::wait_error,
                     [self = shared_from_this()](const asio::error_code&) { self->close(); });
}

void ConsoleStream::type() {
  received_.erase(0, console_.typed.type(received_));
  if (received_.empty()) return read();
  pause_.expires_after(kTypePause);
  pause_.async_wait([self = shared_from_this()](const asio::error_code& cancelled) {
    if (!cancelled) self->type();
  });
}

void ConsoleStream::close() {
  asio::error_code ignored;
  pause_.cancel();
  socket_.close(ignored);
  if (on_closed_) std::exchange(on_closed_, nullptr)(shared_from_this());
}

}  // namespace dvm::tools
