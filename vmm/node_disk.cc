#include "vmm/node_disk.h"

#include <sys/stat.h>

#include "srt/nbd_engine.h"

namespace dvm::vmm {
namespace {

// What a prefetch's thread writes to the pool it writes while registered (fabric/peer.h).
thread_local std::unique_ptr<fabric::LifeRegistration> registration;

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

Result<std::unique_ptr<srt::DiskQueue>> NodeDisk::open_queue(srt::DiskQueue::OnComplete done,
                                                             u32 depth,
                                                             srt::DiskQueue::OnLook look) {
  if (file_) return srt::DiskQueue::open(*file_, std::move(done), depth, std::move(look));
  DVM_ASSIGN(auto engine,
             srt::NbdEngine::connect(source_.nbd_socket, source_.spec, source_.geometry));
  return srt::DiskQueue::open(std::move(engine), std::move(done), depth, std::move(look));
}

bool NodeDisk::has_replicas() const {
  return machine_.replicas() != nullptr && source_.geometry.block_bytes <= srt::kBlockBytes;
}

Result<std::unique_ptr<NodeDisk>> NodeDisk::open(Machine& machine, DiskSource source,
                                                 fabric::Peer* peer) {
  // Buffered I/O and sockets copy already: that is an access like any other.
  source.geometry.copies = source.geometry.direct && machine.has_software_coherence();
  Fd file = std::move(source.file);
  std::unique_ptr<NodeDisk> disk(new NodeDisk(machine, std::move(source), peer));
  NodeDisk* const d = disk.get();
  if (d->source_.nbd_socket.empty()) {
    DVM_ASSIGN(d->file_, srt::Disk::adopt(std::move(file), d->source_.spec, d->source_.geometry,
                                          fence_of(machine, machine.self())));
  }
  const auto queue = [d](auto done, auto look) {
    return d->open_queue(std::move(done), srt::DiskQueue::kDefaultDepth, std::move(look));
  };
  std::unique_ptr<srt::DiskReplicas> replicas;
  if (d->has_replicas()) {
    replicas = std::make_unique<srt::DiskReplicas>(*machine.replicas(), d->boots_,
                                                   static_cast<u16>(d->function()));
  }
  DVM_ASSIGN(disk->server_, DiskServer::open(
                                machine, d->function(), queue, [d] { return d->drained(); }, peer,
                                std::move(replicas)));
  return disk;
}

Result<std::unique_ptr<srt::BlockPrefetch>> NodeDisk::prefetch() {
  if (!has_replicas()) return error("disk {}: no replicas of its blocks", source_.spec.path);
  const auto queue = [this](auto done, u32 depth, srt::DiskQueue::OnLook look) {
    return open_queue(std::move(done), depth, [look = std::move(look), peer = peer_](auto why) {
      if (peer != nullptr && !registration) {
        if (auto life = peer->register_thread(); life.ok()) registration = life.take();
      }
      look(why);
    });
  };
  return srt::BlockPrefetch::open(*machine_.replicas(), queue);
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
