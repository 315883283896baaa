// Reads the blocks that the guest wanted when it last booted (ReplicaTable::wanted) from its disks,
// ahead of the guest: a machine whose memory was lost does not begin with cold disks.
//
// In a thread of its own, by the node that runs vCPU 0, where what a booting guest asks for mostly
// comes from. While the guest waits for one of this node's disks nothing more is begun, but for
// one request now and then. Where the frames are all in use it waits for the guest to come for what
// they hold, and ends when it does not.
//
// Death: another node that runs vCPU 0 by then goes on with the run that was begun last. What was
// in flight may be left out.
#pragma once

#include <atomic>
#include <map>
#include <thread>
#include <vector>

#include "vmm/machine.h"
#include "vmm/node_disk.h"

namespace dvm::vmm {

class DiskWarmer {
 public:
  // `disks` may be filled later; it and the machine outlive this.
  DiskWarmer(Machine& machine, const std::vector<std::unique_ptr<NodeDisk>>& disks)
      : machine_(machine), disks_(disks) {}
  ~DiskWarmer() { stop(); }
  DiskWarmer(const DiskWarmer&) = delete;
  DiskWarmer& operator=(const DiskWarmer&) = delete;

  // Begins, if there is something to be read and nobody does it. Cheap if not. The thread is
  // registered with `peer`, if there is one. Threads: one, as for stop.
  void look(fabric::Peer* peer);
  // Before the disks are closed. Somebody else may go on.
  void stop();

 private:
  using Prefetches = std::map<u16, std::unique_ptr<srt::BlockPrefetch>>;
  void warm();
  void read(srt::BlockRun run, Prefetches& prefetches);
  NodeDisk* disk_of(const srt::BlockRun& run) const;
  void wait_for_calm(const NodeDisk& disk) const;
  bool ends() const;

  Machine& machine_;
  const std::vector<std::unique_ptr<NodeDisk>>& disks_;
  std::atomic<bool> stopping_ = false;
  bool gave_up_ = false;  // the thread's: no frame came free
  std::thread thread_;
};

}  // namespace dvm::vmm
