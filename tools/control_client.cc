#include "tools/control_client.h"

#include <nlohmann/json.hpp>

#include "tools/checkpoint_disks.h"
#include "tools/control_protocol.h"
#include "tools/event_text.h"
#include "tools/guest_checkpoint.h"
#include "tools/json_text.h"
#include "tools/memory_dump.h"
#include "tools/trace_recording.h"

namespace dvm::tools {

ControlClient::ControlClient(Socket socket, vmm::Machine& machine, const RequestParts& parts,
                             OnClosed on_closed, OnConsole on_console)
    : socket_(std::move(socket)),
      machine_(machine),
      parts_(parts),
      on_closed_(std::move(on_closed)),
      on_console_(std::move(on_console)) {}

// The guest has stopped, if there is work still: it soon ends.
ControlClient::~ControlClient() {
  if (work_.joinable()) work_.join();
}

void ControlClient::read_request() {
  asio::async_read_until(
      socket_, asio::dynamic_buffer(received_, kMaxRequestBytes), '\n',
      [self = shared_from_this()](const asio::error_code& failure, std::size_t bytes) {
        if (failure == asio::error::not_found)
          return self->refuse("the request is longer than 64 KiB");
        if (failure) return self->close();
        const std::string line = self->received_.substr(0, bytes - 1);
        self->received_.erase(0, bytes);
        self->answer(line);
      });
}

void ControlClient::answer(const std::string& line) {
  if (takes_long(line)) return answer_later(line);
  const nlohmann::json reply = handle_request_line(line, machine_, parts_);
  if (reply.contains("follow")) follows_ = reply["after"].get<u64>();
  if (reply.contains("console")) {
    console_ =
        ConsoleWish{reply["port"] == "virtio" ? vmm::ConsolePort::virtio : vmm::ConsolePort::serial,
                    reply["history"].get<std::size_t>()};
  }
  if (reply.contains("dump")) {
    const auto path = reply["dump"].get<std::string>();
    job_ = std::make_unique<MemoryDump>(machine_, path, job_listener(path));
    return;
  }
  if (reply.contains("checkpoint")) {
    CheckpointOptions options{.path = reply["checkpoint"].get<std::string>(),
                              .stop = reply["stop"].get<bool>(),
                              .fork = reply["fork"].get<bool>()};
    if (reply.contains("base")) options.base = reply["base"].get<std::string>();
    if (auto copies = copies_of(reply, parts_.disks)) options.copies = copies.take();
    job_ = std::make_unique<GuestCheckpoint>(machine_, parts_, options, job_listener(options.path));
    return;
  }
  if (reply.contains("trace")) {
    const auto path = reply["trace"].get<std::string>();
    job_ = std::make_unique<TraceRecording>(machine_, path, reply["seconds"].get<u32>(),
                                            job_listener(path));
    return;
  }
  send(to_line(reply) + "\n");
}

// On a thread of its own, for the others' requests not to wait; like the dump's it only posts.
void ControlClient::answer_later(const std::string& line) {
  work_ = std::thread([weak = weak_from_this(), executor = socket_.get_executor(), line,
                       &machine = machine_, parts = parts_] {
    const std::string text = to_line(handle_request_line(line, machine, parts)) + "\n";
    asio::post(executor, [weak, text] {
      if (const auto self = weak.lock()) self->answered(text);
    });
  });
}

void ControlClient::answered(const std::string& text) {
  work_.join();
  send(text);
}

// The job's thread only posts: it never owns what it would then have to destroy.
RequestListener ControlClient::job_listener(const std::string& path) {
  const auto post = [weak = weak_from_this(), executor = socket_.get_executor()](auto action) {
    asio::post(executor, [weak, action] {
      if (const auto self = weak.lock()) action(*self);
    });
  };
  RequestListener listener;
  listener.progress = [post](RequestProgress p) {
    post([p](ControlClient& self) {
      if (!self.busy_)
        self.send(to_line({{"progress", {{"done", p.done}, {"total", p.total}}}}) + "\n");
    });
  };
  listener.done = [post, path](const Status& status) {
    post([path, status](ControlClient& self) { self.job_done(path, status); });
  };
  return listener;
}

void ControlClient::job_done(const std::string& path, const Status& status) {
  job_.reset();
  const auto reply = status.ok() ? nlohmann::json{{"ok", true}, {"file", path}}
                                 : error_reply(status.error().message);
  // Progress may still be on its way.
  if (busy_) {
    last_line_ = to_line(reply) + "\n";
  } else {
    send(to_line(reply) + "\n");
  }
}

void ControlClient::refuse(const std::string& why) {
  closing_ = true;
  follows_.reset();
  send(to_line(error_reply(why)) + "\n");
}

void ControlClient::send(std::string text) {
  busy_ = true;
  sending_ = std::move(text);
  asio::async_write(socket_, asio::buffer(sending_),
                    [self = shared_from_this()](const asio::error_code& failure, std::size_t) {
                      self->busy_ = false;
                      if (failure) return self->close();
                      self->sent();
                    });
}

void ControlClient::sent() {
  if (follows_) {
    send_events();
    if (busy_) return;
  }
  if (!last_line_.empty()) return send(std::exchange(last_line_, {}));
  if (job_) return;
  if (console_) {
    on_console_(std::move(socket_), *console_, std::move(received_));
    return close();
  }
  if (closing_) return close();
  if (!follows_) return read_request();
  // A follower asks nothing more: reading only tells when it hangs up.
  if (std::exchange(watches_hang_up_, true)) return;
  socket_.async_wait(Socket::wait_read,
                     [self = shared_from_this()](const asio::error_code&) { self->close(); });
}

void ControlClient::send_events() {
  if (!follows_ || busy_ || !socket_.is_open()) return;
  std::string lines;
  follows_ = fabric::read_events(machine_.events(), *follows_, [&](const fabric::Event& event) {
    lines += to_line(event_json(event)) + "\n";
  });
  if (!lines.empty()) send(std::move(lines));
}

void ControlClient::close_when_sent() {
  closing_ = true;
  send_events();
  if (!busy_ && !work_.joinable() && !job_) close();
}

void ControlClient::close() {
  asio::error_code ignored;
  socket_.close(ignored);
  job_.reset();  // nobody waits for it
  if (on_closed_) std::exchange(on_closed_, nullptr)(shared_from_this());
}

}  // namespace dvm::tools
