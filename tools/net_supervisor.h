// The process of a user network (dvm-net) as its launcher sees it: started before the nodes,
// started again when it dies. The guest then sees its link go down and come up; its connections are
// lost.
#pragma once

#include <asio.hpp>
#include <optional>
#include <string>

#include "fabric/fd.h"
#include "fabric/ghost.h"
#include "vmm/machine.h"

namespace dvm::tools {

// Threads: all functions on the io_context's.
class NetSupervisor {
 public:
  // `net` is the text of --net.
  NetSupervisor(asio::io_context& io, vmm::Machine& machine, Ghosts& ghosts, std::string net);
  // Ends the process.
  ~NetSupervisor();
  NetSupervisor(const NetSupervisor&) = delete;
  NetSupervisor& operator=(const NetSupervisor&) = delete;

  // Returns when packets can flow; an error is what the process had to say (a port that is taken).
  Status start();

 private:
  Status spawn();
  Status await_ready(const Fd& ready);
  void watch();
  void ended();
  void retire();
  void end_process();
  void set_link(bool up);

  asio::io_context& io_;
  vmm::Machine& machine_;
  Ghosts& ghosts_;
  const std::string net_;
  Fd lifeline_, lifeline_read_;
  i32 pid_ = 0;  // 0: none
  std::optional<asio::posix::stream_descriptor> pidfd_;
  u32 deaths_ = 0;
};

}  // namespace dvm::tools
