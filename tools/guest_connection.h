// The control socket of a running guest, on the side of who asks.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "fabric/fd.h"
#include "tools/runtime_dir.h"

namespace dvm::tools {

// Threads: one. Every wait has an end, but for that for the next event.
class GuestConnection {
 public:
  static Result<GuestConnection> open(const RunningGuest& guest);

  // The reply to a request; what the guest refuses is an error.
  // `progress` gets each line that comes before it.
  Result<nlohmann::json> ask(const nlohmann::json& request,
                             const std::function<void(const nlohmann::json&)>& progress = {});
  // The connection itself, once it is no longer one of lines, and what it has brought so far.
  struct Stream {
    Fd fd;
    std::string received;
  };
  Stream release() && { return {std::move(fd_), std::move(received_)}; }
  // The next line of a stream that a request began; none when the guest has ended.
  Result<std::optional<std::string>> next_line();

 private:
  GuestConnection(std::string name, Fd fd) : name_(std::move(name)), fd_(std::move(fd)) {}
  Result<std::optional<std::string>> read_line(int timeout_ms);

  std::string name_;
  Fd fd_;
  std::string received_;
};

// The guest of that name, or the only one there is.
Result<RunningGuest> find_guest(const std::optional<std::string>& name);

}  // namespace dvm::tools
