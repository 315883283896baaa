// QEMU's monitor, as a program talks to it: QMP, JSON by lines over a Unix socket.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "fabric/fd.h"

namespace dvm::tools {

// Threads: one. Every wait has an end.
class QmpClient {
 public:
  // Waits for the socket to be there.
  static Result<QmpClient> open(const std::string& path);
  // What the command returns; what QEMU refuses is an error.
  Result<nlohmann::json> ask(const std::string& command,
                             const nlohmann::json& arguments = nlohmann::json::object());

 private:
  explicit QmpClient(Fd fd) : fd_(std::move(fd)) {}
  Result<nlohmann::json> read_message();

  Fd fd_;
  std::string received_;
};

}  // namespace dvm::tools
