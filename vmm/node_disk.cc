#include "vmm/node_disk.h"

#include <sys/stat.h>

#include "srt/nbd_engine.h"

namespace dvm::vmm {
namespace {

// Guests of one host have different pools.
u32 guest_tag(Machine& machine) {
  struct stat st {};
  if (::fstat(machine.pool().fd().get(), &st) < 0) return 0;
  const u64 mixed = (st.st_ino ^ st.st_dev << 32) * 0x9e37'79b9'7f4a'7c15;
  return static_cast<u32>(mixed >> 40);
}

srt::Fence fence_of(Machine& machine, fabric::InstanceId who) {
  return {guest_tag(machine), who.id, who.generation};
}
static_assert(fabric::kMaxInstances <= 64);

}  // namespace

Result<std::unique_ptr<NodeDisk>> NodeDisk::open(Machine& machine, DiskSource source,
                                                 fabric::Peer* peer) {
  std::unique_ptr<NodeDisk> disk(new NodeDisk(machine, source.function));
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
                                             fence_of(machine, machine.self())));
  }
  const auto drained = [d = disk.get()] { return d->drained(); };
  std::unique_ptr<srt::DiskReplicas> replicas;
  if (srt::ReplicaTable* table = machine.replicas();
      table != nullptr && source.geometry.block_bytes <= srt::kBlockBytes) {
    replicas = std::make_unique<srt::DiskReplicas>(*table, disk->boots_,
                                                   static_cast<u16>(source.function));
  }
  DVM_ASSIGN(disk->server_, DiskServer::open(machine, source.function, open_queue, drained, peer,
                                             std::move(replicas)));
  return disk;
}

// No node that has ended, whatever its generation, has anything in flight: a generation that has
// passed is below the one in its slot.
bool NodeDisk::drained() const {
  for (u32 node = 0; node < layout::kMaxNodes; ++node) {
    if (file_ ? !kernel_drained(node) : !server_drained(node)) return false;
  }
  return true;
}

bool NodeDisk::kernel_drained(u32 node) const {
  const u32 id = kFirstNodeInstance + node;
  const u32 now = machine_.instances().slots[id].generation.load();
  const auto held = srt::earlier_fence_held(file_->fd(), fence_of(machine_, {id, now}));
  return held.ok() && !*held;
}

// One that lives is the only one of its generation; one that has ended has left its own behind.
bool NodeDisk::server_drained(u32 node) const {
  const u32 id = kFirstNodeInstance + node;
  const auto& slot = machine_.instances().slots[id];
  const bool left = slot.state.load() == fabric::InstanceState::gone;
  const bool ended = machine_.instances().has_ended(id) && !left;
  const u32 now = slot.generation.load();
  const u32 passed = ended || now == 0 ? now : now - 1;
  return machine_.state().nodes[node].servers_fenced.load() >= passed || left;
}

}  // namespace dvm::vmm
