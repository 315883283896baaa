// One of the guest's disks as a node reaches it: the file it inherits, or the server it connects
// to, and what serves the device's queues from there.
#pragma once

#include <optional>

#include "srt/block_prefetch.h"
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
  // Reads of this process's ahead of the guest, through a queue of their own; ends before this.
  // Error: this process cannot, or the machine has nowhere to put them.
  Result<std::unique_ptr<srt::BlockPrefetch>> prefetch();
  u32 function() const { return source_.function; }
  const DiskServer& server() const { return *server_; }

 private:
  NodeDisk(Machine& machine, DiskSource source, fabric::Peer* peer)
      : machine_(machine), source_(std::move(source)), peer_(peer) {}
  Result<std::unique_ptr<srt::DiskQueue>> open_queue(srt::DiskQueue::OnComplete done, u32 depth,
                                                     srt::DiskQueue::OnLook look);
  bool has_replicas() const;
  bool kernel_drained(u32 node) const;
  bool server_drained(u32 node) const;

  Machine& machine_;
  const MachineBoots boots_{machine_};
  DiskSource source_;  // without its file, which `file_` has
  fabric::Peer* const peer_;
  std::optional<srt::Disk> file_;  // outlives the server
  std::unique_ptr<DiskServer> server_;
};

}  // namespace dvm::vmm
