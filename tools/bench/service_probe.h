// Tells when a service greets who connects to it.
#pragma once

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <thread>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::tools {

// Connects to a port of this host, again and again, until something comes: a connection made while
// nobody listens behind the port may never come to anything.
class ServiceProbe {
 public:
  using Clock = std::chrono::steady_clock;

  explicit ServiceProbe(u16 port) : port_(port) {}
  ~ServiceProbe() { stop(); }
  ServiceProbe(const ServiceProbe&) = delete;
  ServiceProbe& operator=(const ServiceProbe&) = delete;

  void start();  // once
  // When its first bytes came.
  std::optional<Clock::time_point> answered() const;

 private:
  void stop();
  void look();

  u16 port_;
  std::atomic<bool> ending_{false};
  std::atomic<Clock::rep> answered_{0};
  std::thread thread_;
};

// One that nobody has.
Result<u16> free_port();

}  // namespace dvm::tools
