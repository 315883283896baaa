#include "tools/serial_socket.h"

namespace dvm::tools {
namespace {

constexpr std::chrono::milliseconds kLastCall{300}, kAcceptPause{100};

}  // namespace

Result<std::unique_ptr<SerialSocket>> SerialSocket::start(const std::string& path,
                                                          ConsoleEnds console) {
  DVM_ASSIGN(auto listening, ListeningSocket::open(path));
  std::unique_ptr<SerialSocket> socket(new SerialSocket(std::move(listening), console));
  socket->thread_ = std::thread([s = socket.get()] {
    s->accept();
    s->io_.run();
  });
  return socket;
}

SerialSocket::SerialSocket(ListeningSocket socket, ConsoleEnds console)
    : listening_(std::move(socket)),
      console_(console),
      acceptor_(io_, asio::local::stream_protocol(), listening_.take_fd().release()),
      timer_(io_) {}

SerialSocket::~SerialSocket() {
  if (!thread_.joinable()) return;
  asio::post(io_, [this] { close(); });
  thread_.join();
}

void SerialSocket::fed() {
  asio::post(io_, [this] {
    if (const auto client = client_) client->send_more();
  });
}

void SerialSocket::accept() {
  acceptor_.async_accept([this](const asio::error_code& failure, ConsoleStream::Socket socket) {
    if (!acceptor_.is_open()) return;
    if (failure) {  // out of descriptors, say: not a reason to spin
      timer_.expires_after(kAcceptPause);
      timer_.async_wait([this](const asio::error_code& cancelled) {
        if (!cancelled) accept();
      });
      return;
    }
    client_ = std::make_shared<ConsoleStream>(std::move(socket), console_, cursor_,
                                              [this](const auto& client) {
                                                cursor_ = client->cursor();
                                                client_.reset();
                                                if (acceptor_.is_open()) return accept();
                                                io_.stop();
                                              });
    client_->start({});
  });
}

void SerialSocket::close() {
  asio::error_code ignored;
  acceptor_.close(ignored);
  if (!client_) return io_.stop();
  timer_.expires_after(kLastCall);
  timer_.async_wait([this](const asio::error_code&) { io_.stop(); });
  client_->close_when_sent();
}

}  // namespace dvm::tools
