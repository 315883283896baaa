// A node's keeper (vmm/keeper.h), as its parent sees it once the node's process has ended: to be
// waited for, and to be ended if that takes too long.
#pragma once

#include <sys/types.h>

#include <asio.hpp>
#include <functional>

#include "fabric/fd.h"

namespace dvm::tools {

// Threads: the io_context's.
class KeeperProcess {
 public:
  // A keeper reads a vCPU in less than a millisecond, and may have to wait for the fabric manager.
  static constexpr std::chrono::seconds kPatience{10};

  // `on_ended` is called once, after it has been collected; not after the destructor. Error: there
  // is no such child.
  static Result<KeeperProcess> watch(asio::io_context& io, pid_t pid,
                                     std::function<void()> on_ended);
  // Kills and collects it, if that has not been done.
  ~KeeperProcess();
  KeeperProcess(KeeperProcess&&) = default;
  KeeperProcess& operator=(KeeperProcess&&) = delete;

  void kill() const;

 private:
  struct Process;
  explicit KeeperProcess(std::shared_ptr<Process> process) : process_(std::move(process)) {}
  static void wait(const std::shared_ptr<Process>& process);

  std::shared_ptr<Process> process_;
};

}  // namespace dvm::tools
