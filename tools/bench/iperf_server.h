// iperf3's server on this machine, while benchmarks in guests talk to it.
#pragma once

#include <sys/types.h>

#include <memory>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::tools {

class IperfServer {
 public:
  // An error: iperf3 is not installed, or the port is taken.
  static Result<std::unique_ptr<IperfServer>> start(u32 port);
  ~IperfServer();
  IperfServer(const IperfServer&) = delete;
  IperfServer& operator=(const IperfServer&) = delete;

 private:
  explicit IperfServer(pid_t pid) : pid_(pid) {}
  pid_t pid_;
};

}  // namespace dvm::tools
