// Watches a guest's nodes: one that ends before its time ends the guest, and none outlives it. That
// one died or hung it hears from the fabric manager, whose process it starts, or from the kernel.
#pragma once

#include <asio.hpp>
#include <functional>
#include <list>
#include <vector>

#include "fabric/fabric_state.h"
#include "tools/bell_watcher.h"
#include "tools/fabric_process.h"
#include "tools/keeper_process.h"
#include "tools/node_process.h"
#include "vmm/machine.h"

namespace dvm::tools {

// Threads: all functions on the io_context's.
class NodeSupervisor {
 public:
  // `on_all_ended` runs once, when the machine has stopped and every node has ended.
  NodeSupervisor(asio::io_context& io, vmm::Machine& machine, NodeLaunch launch,
                 std::function<void()> on_all_ended);
  // Kills and collects what is left.
  ~NodeSupervisor();
  NodeSupervisor(const NodeSupervisor&) = delete;
  NodeSupervisor& operator=(const NodeSupervisor&) = delete;

  // Starts node 0 to n-1 and the fabric manager. After an error those already started end with the
  // destructor.
  Status start(u32 nodes);
  // Starts one more, under a free number, which it returns. The node's stage tells when it has
  // joined, or that it could not.
  Result<u32> add();
  // The machine has stopped: nodes get a while to leave, then are killed.
  void machine_stopped();

 private:
  struct Watched {
    Watched(asio::io_context& io, NodeProcess p, Fd fd)
        : process(std::move(p)), readable(io, fd.release()) {}
    NodeProcess process;
    asio::posix::stream_descriptor readable;  // a duplicate of the pidfd
    bool added = false;                       // to the running machine, which goes on without it
    bool ended = false;
    bool announced = false;               // as dead, by the fabric manager
    int status = 0;                       // ended: what it ended with
    std::optional<KeeperProcess> keeper;  // that has not been collected
    bool lost = false;                    // with its keeper: the guest goes back to its last epoch
    std::optional<asio::steady_timer> rolls_back;
  };
  Status spawn(u32 index, bool added);
  void fence_servers(u32 node);
  void take_off(u32 node);
  bool holds_nothing(u32 node) const;
  Result<u32> free_number();
  Status start_manager();
  void watch_manager();
  std::optional<u64> look_at_failures();  // on the watcher's thread
  void node_announced(u32 index, fabric::FailureCause cause);
  void watch(Watched& node);
  void node_ended(Watched& node);
  void tell_end(Watched& node);
  void look_at_keeper(pid_t node, u32 looks);
  void await_keeper(Watched& node);
  void keeper_ended(Watched& node);
  bool roll_back(Watched& node);
  void await_roll_back(Watched& node);
  void all_may_have_ended();
  std::string why_lost(u32 node) const;
  void report_death(const NodeProcess& process, int status);
  void log_death(const NodeProcess& process, int status);
  void retire(const NodeProcess& process);
  void kill_rest();
  bool all_ended() const;

  asio::io_context& io_;
  vmm::Machine& machine_;
  const NodeLaunch launch_;
  std::function<void()> on_all_ended_;
  std::list<Watched> nodes_;
  fabric::FabricState* fabric_ = nullptr;
  std::optional<FabricProcess> manager_;
  std::optional<asio::posix::stream_descriptor> manager_ended_;  // a duplicate of its pidfd
  std::optional<BellWatcher> failures_;
  u32 posted_ = 0;  // nodes whose announcement was passed on; the watcher's
  asio::steady_timer patience_;
  bool stopped_ = false;
  bool killing_ = false;
};

}  // namespace dvm::tools
