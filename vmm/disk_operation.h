// One request of a driver's that a process has in hand, and what it is to the disk and to the
// replica table.
#pragma once

#include <vector>

#include "srt/disk_replicas.h"
#include "srt/disk_request.h"
#include "vmm/virtio/blk.h"

namespace dvm::vmm {

// Reused, never freed while its server lives. Threads: the disk's.
struct DiskOperation {
  u16 queue;
  bool durable;
  u32 generation;
  u32 epoch;  // in which it was taken
  BlkRequest request;
  std::vector<iovec> buffers;
  std::vector<srt::MemoryPiece> memory;  // the same, as the guest has them
  srt::OngoingTransfer transfer;
  bool looked_up;  // of a read: the transfer says what is left for the disk
  std::vector<iovec> left;

  // Error: a buffer is not in RAM.
  Status map_buffers(const hyperkernel::GuestMemory& ram);
  // Whether it is a read of what is in memory already. Looked up once; what is left stands in
  // `transfer`.
  bool is_answered_by(srt::DiskReplicas& replicas, u64 disk_bytes);
  // The buffers in it are this operation's.
  srt::DiskRequest disk_request();
  // Before it may reach the disk, each time that is tried; and when it has ended there.
  void begins(srt::DiskReplicas& replicas);
  void ends(srt::DiskReplicas& replicas, bool done);

 private:
  srt::DiskTransfer all() const { return {request.offset, request.bytes, memory}; }
};

}  // namespace dvm::vmm
