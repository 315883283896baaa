#include "fabric/power_switch.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>

namespace dvm::fabric {

void PowerSwitch::learn(InstanceId who) {
  Known& known = processes_[who.id];
  const PeerRecord& record = fabric_.peers.records[who.id];
  if (record.host.load() != own_host_ || (known.who == who && known.fd.valid())) return;
  known.who = who;
  auto process = open_process(record, who);
  known.fd = process ? std::move(*process) : Fd();
}

void PowerSwitch::off(InstanceId who) {
  const u32 host = fabric_.peers.records[who.id].host.load();
  if (host != own_host_) {
    if (power_off_host_) power_off_host_(host);
    return;
  }
  learn(who);
  const Known& known = processes_[who.id];
  if (known.fd.valid()) ::syscall(SYS_pidfd_send_signal, known.fd.get(), SIGKILL, nullptr, 0);
}

bool PowerSwitch::stopped(InstanceId who) {
  PeerRecord& record = fabric_.peers.records[who.id];
  const InstanceId there = InstanceId::unpack(record.instance.load(std::memory_order_acquire));
  if (there.valid() && there != who) return true;  // it has left in order; a successor is there
  if (record.host.load() == own_host_) return close_if_stopped(record);
  return power_off_host_ && power_off_host_(record.host.load());
}

}  // namespace dvm::fabric
