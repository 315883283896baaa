// A node: one process's share of the machine. It runs the vCPUs placed on it, serves device timers
// if it is the one to do so, and carries out what the machine's phase asks for.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "fabric/fabric_service.h"
#include "vmm/boot/loader.h"
#include "vmm/coherent_memory.h"
#include "vmm/disk_warmer.h"
#include "vmm/epoch_member.h"
#include "vmm/io_event_fds.h"
#include "vmm/machine.h"
#include "vmm/node_disk.h"
#include "vmm/node_vcpus.h"
#include "vmm/replica_sweep.h"
#include "vmm/vm_reserve.h"

namespace dvm::vmm {

class Node {
 public:
  // `boot` is what any node may load at a reset: the one that carries it out does.
  Node(std::unique_ptr<Machine> machine, u32 index, BootSource boot, std::vector<DiskSource> disks);
  // `start`: begins what else serves devices in this process; its threads register with the peer.
  void on_join(std::function<Status(fabric::Peer&)> start) { start_servers_ = std::move(start); }
  // `stop`: ends what else serves devices in this process, before it gives up guest memory.
  void on_leave(std::function<void()> stop) { stop_servers_ = std::move(stop); }
  // `look`: now and then, and when something has changed in the machine.
  void on_look(std::function<void()> look) { look_ = std::move(look); }
  // With epochs: packets of one that has ended may leave. Threads: the epochs'.
  void on_release(std::function<void()> release) { release_ = std::move(release); }
  // Returns when the machine has stopped, or the node was asked to leave; an error if this node
  // cannot do its part. The calling thread beats for the node (fabric/fabric_service.h).
  Status run();
  // From a handler of SIGPWR, or any thread: the power fails. Where the machine is protected, the
  // node's vCPUs go to others at once, and it leaves.
  static void power_fails();
  // Thread: any. Ends the machine, for a launcher that is gone.
  void launcher_gone();

 private:
  Status join();
  void heard(const fabric::Notification& what);
  Status work();
  NodeStage stage() const { return record_.stage.load(); }
  bool has_vcpus() const;
  bool somebody_else_takes_vcpus() const;
  void stand_down();
  void close_devices();
  void bring_pages_home();
  void leave();
  void look_at_power();
  void prepare_boot();  // stands still, and says so
  bool everyone_ready() const;
  bool may_load() const;
  Status carry_out_reset();  // by the one node that won the election
  Status check_host() const;
  Status start_vcpus();
  void stop_vcpus();
  void tell_restart();
  void look_after_boot();
  Status start_pre_fault();
  Status join_epochs();
  Status record_cpu_model();
  void serve(u32 seen);  // timers, a beat, then sleep until the bell moves on from `seen`

  std::unique_ptr<Machine> machine_;
  const u32 index_;
  bool leaving_ = false;
  std::function<Status(fabric::Peer&)> start_servers_;
  std::function<void()> stop_servers_, look_, release_;
  NodeRecord& record_;
  BootSource boot_;
  std::vector<DiskSource> disk_sources_;
  std::unique_ptr<fabric::FabricService> fabric_;
  std::unique_ptr<Keeper> keeper_;          // where nodes may die
  std::unique_ptr<CoherentMemory> memory_;  // with software coherence
  std::unique_ptr<EpochMember> epochs_;     // with epochs
  VmReserve reserve_{[this](Vm& vm) { return NodeVcpus::make_ahead(*machine_, vm, index_); }};
  std::unique_ptr<Vm> vm_;
  std::optional<IoEventFds> io_event_fds_;
  std::unique_ptr<PreFault> pre_fault_;  // with software coherence, and a KVM that can
  std::vector<std::unique_ptr<NodeDisk>> disks_;
  ReplicaSweep sweep_{*machine_};
  DiskWarmer warmer_{*machine_, disks_};
  u32 reserved_for_ = 0;  // boot
  std::optional<NodeVcpus> vcpus_;
};

}  // namespace dvm::vmm
