#include "vmm/node_disk.h"

#include "srt/nbd_engine.h"

namespace dvm::vmm {
namespace {

// A name of 48 bits for this process that no other ever has (srt/image_lock.h).
u64 fence_of(fabric::InstanceId self) { return u64{self.generation} << 8 | self.id; }
static_assert(fabric::kMaxInstances <= 256);

}  // namespace

Result<std::unique_ptr<NodeDisk>> NodeDisk::open(Machine& machine, DiskSource source) {
  std::unique_ptr<NodeDisk> disk(new NodeDisk(source.function));
  const auto open_queue =
      [&](srt::DiskQueue::OnComplete done,
          srt::DiskQueue::OnLook look) -> Result<std::unique_ptr<srt::DiskQueue>> {
    constexpr u32 kDepth = srt::DiskQueue::kDefaultDepth;
    if (source.nbd_socket.empty())
      return srt::DiskQueue::open(*disk->file_, std::move(done), kDepth, std::move(look));
    DVM_ASSIGN(auto engine,
               srt::NbdEngine::connect(source.nbd_socket, source.spec, source.geometry));
    return srt::DiskQueue::open(std::move(engine), std::move(done), kDepth, std::move(look));
  };
  // Buffered I/O and sockets copy already: that is an access like any other.
  source.geometry.copies = source.geometry.direct && machine.has_software_coherence();
  if (source.nbd_socket.empty()) {
    DVM_ASSIGN(disk->file_, srt::Disk::adopt(std::move(source.file), source.spec, source.geometry,
                                             fence_of(machine.self())));
  }
  DVM_ASSIGN(disk->server_, DiskServer::open(machine, source.function, open_queue));
  return disk;
}

}  // namespace dvm::vmm
