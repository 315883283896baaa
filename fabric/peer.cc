#include "fabric/peer.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "fabric/fabric_state.h"
#include "fabric/failpoint.h"

namespace dvm::fabric {

bool close_if_stopped(PeerRecord& record) {
  bool all = true;
  for (LifeWord& word : record.life) all = close_life_word(word) && all;
  return all;
}

Result<std::unique_ptr<Peer>> Peer::join(FabricState& fabric, InstanceId self, u32 host) {
  if (self.id >= kMaxInstances || !self.valid()) return error("peer: not an instance");
  std::unique_ptr<Peer> peer(new Peer(fabric.peers, self));
  PeerRecord& record = peer->record_;
  if (const u64 former = record.instance.load(); former != 0) {
    return error("peer {}: generation {} has not left the record", self.id,
                 InstanceId::unpack(former).generation);
  }
  if (const FailureWord failure = look(fabric.failures[self.id]); failure.unfinished()) {
    return error("peer {}: the failure of generation {} is not finished", self.id,
                 failure.generation);
  }
  for (LifeWord& word : record.life) word.value.store(0);
  record.pid.store(::getpid());
  record.host.store(host);
  record.allowance_ms.store(0);
  record.beats.fetch_add(1);
  DVM_ASSIGN(peer->first_, LifeRegistration::enter(record.life[0]));
  failpoint("peer.registered");
  record.instance.store(self.packed(), std::memory_order_release);
  failpoint("peer.joined");
  ring(fabric.peers.changed);
  return peer;
}

Peer::~Peer() {
  if (!first_) return;  // never joined
  u64 mine = self_.packed();
  record_.instance.compare_exchange_strong(mine, 0, std::memory_order_acq_rel);
  failpoint("peer.leaving");
  first_.reset();
  ring(peers_.changed);
}

Result<std::unique_ptr<LifeRegistration>> Peer::register_thread() {
  for (LifeWord& word : record_.life) {
    if (word.value.load(std::memory_order_relaxed) != 0) continue;
    auto life = LifeRegistration::enter(word);
    if (life.ok() || word.value.load() == 0) return life;  // else another was quicker
  }
  return error("peer {}: all {} life words are taken or closed", self_.id, kLifeWords);
}

std::optional<Fd> open_process(const PeerRecord& record, InstanceId who) {
  const i32 pid = record.pid.load();
  Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const bool alive = record.instance.load() == who.packed() &&
                     life_running(record.life[0].value.load(std::memory_order_acquire));
  if (!process.valid() || !alive) return std::nullopt;
  return process;
}

}  // namespace dvm::fabric
