// One of the guest's disks as a node reaches it: the file it inherits, or the server it connects
// to, and what serves the device's queues from there.
#pragma once

#include <optional>

#include "srt/disk.h"
#include "vmm/disk_server.h"
#include "vmm/guest_boots.h"

namespace dvm::vmm {

// What the launcher found out and hands to each node.
struct DiskSource {
  u32 function = 0;
  srt::DiskSpec spec;
  srt::DiskGeometry geometry;
  Fd file;                 // raw: a duplicate of the launcher's, with its lock
  std::string nbd_socket;  // any other format: where qemu-nbd serves it
};

class NodeDisk {
 public:
  // The disk's thread is registered with `peer`, if there is one.
  static Result<std::unique_ptr<NodeDisk>> open(Machine& machine, DiskSource source,
                                                fabric::Peer* peer = nullptr);
  // Nothing of this process's is in flight after it. No vCPU of its runs.
  void drain() { server_->drain(); }
  bool drained() const;                       // nor anything of nodes that have ended
  void committed() { server_->committed(); }  // an epoch has ended
  u32 function() const { return function_; }
  const DiskServer& server() const { return *server_; }

 private:
  NodeDisk(Machine& machine, u32 function) : machine_(machine), function_(function) {}
  bool kernel_drained(u32 node) const;
  bool server_drained(u32 node) const;

  Machine& machine_;
  const MachineBoots boots_{machine_};
  const u32 function_;
  std::optional<srt::Disk> file_;  // outlives the server
  std::unique_ptr<DiskServer> server_;
};

}  // namespace dvm::vmm
