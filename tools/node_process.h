// A dvm-node process as its launcher sees it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fabric/fd.h"
#include "fabric/ghost.h"
#include "vmm/boot/loader.h"

namespace dvm::tools {

// What every node of a guest is started with. What is referred to outlives it.
struct NodeLaunch {
  std::string program;  // path of dvm-node
  const Fd& pool;
  std::string pool_name;
  const vmm::BootSource& boot;
  Ghosts& ghosts;
  const Fd& lifeline;  // read end of a pipe whose write end only the launcher has
  std::vector<std::string> more_arguments;
  std::vector<int> more_descriptors;
  // Ends the servers of disks, which may have in hand what a dead node sent, and starts them anew.
  // Empty: there are none.
  std::function<Status()> restart_servers;
};

class NodeProcess {
 public:
  static Result<NodeProcess> spawn(const NodeLaunch& launch, u32 index);

  u32 index() const { return index_; }
  i32 pid() const { return pid_; }
  const Fd& pidfd() const { return pidfd_; }  // readable once the process has ended
  void kill() const;                          // SIGKILL; a process that has ended is no error
  // The wait status (as of waitpid) of a process that has ended; none while it runs. Once only.
  std::optional<int> reap() const;

 private:
  NodeProcess(u32 index, i32 pid, Fd pidfd) : index_(index), pid_(pid), pidfd_(std::move(pidfd)) {}
  u32 index_;
  i32 pid_;
  Fd pidfd_;
};

// "killed by signal 9 (Killed)", "ended with exit code 1".
std::string describe_wait_status(int status);
// The program of that name in the folder of this one.
Result<std::string> sibling_program(const std::string& name);

}  // namespace dvm::tools
