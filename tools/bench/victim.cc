#include "tools/bench/victim.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>

namespace dvm::tools {
namespace {

using nlohmann::json;

constexpr u64 kPatienceNs = 60'000'000'000;
constexpr auto kLook = std::chrono::milliseconds(10);
constexpr std::array<int, kDeathKinds> kSignals = {SIGKILL, SIGSTOP, SIGPWR, SIGKILL};

}  // namespace

Result<Victim> Victim::open(const std::string& name, const std::string& pool_path) {
  DVM_ASSIGN(Fd fd, Fd::open(pool_path, O_RDWR));
  DVM_ASSIGN(fabric::Pool pool, fabric::Pool::attach(std::move(fd), pool_path));
  DVM_ASSIGN(const RunningGuest guest, find_guest(name));
  DVM_ASSIGN(GuestConnection connection, GuestConnection::open(guest));
  Victim v(std::move(pool), std::move(connection));
  DVM_ASSIGN(v.machine_,
             v.pool_.record<vmm::MachineState>(fabric::RegionKind::machine, vmm::kMachineVersion));
  DVM_ASSIGN(v.fabric_, v.pool_.record<fabric::FabricState>(fabric::RegionKind::membership,
                                                            fabric::kMembershipVersion));
  DVM_ASSIGN(v.instances_, v.pool_.record<fabric::InstanceTable>(fabric::RegionKind::instances,
                                                                 fabric::kInstancesVersion));
  if (v.pool_.has_region(fabric::RegionKind::epoch)) {
    DVM_ASSIGN(v.epoch_,
               v.pool_.record<vmm::EpochRecord>(fabric::RegionKind::epoch, vmm::kEpochVersion));
  }
  return v;
}

Status Victim::end(u32 node, DeathKind kind) const {
  const u32 id = vmm::kFirstNodeInstance + node;
  if (kind == DeathKind::host) ::kill(machine_->keepers[node].pid.load(), SIGKILL);
  if (::kill(instances_->slots[id].pid.load(), kSignals[static_cast<u32>(kind)]) < 0)
    return sys_error(fmt::format("kill node {}", node));
  return {};
}

Result<DeathInstants> Victim::lose(u32 node, DeathKind kind) {
  const u32 id = vmm::kFirstNodeInstance + node;
  const vmm::VcpuRecord& v = machine_->vcpus[node];
  DeathInstants at;
  at.end = fabric::monotonic_ns();
  DVM_TRY(end(node, kind));
  DVM_TRY(wait_until("its vCPU runs elsewhere", [&] {
    return v.node() != node && v.where().stage == vmm::PlaceStage::settled &&
           v.move.entered.load() > at.end;
  }));
  at.committed = v.move.committed.load();
  at.loaded = v.move.loaded.load();
  at.entered = v.move.entered.load();
  if (kind == DeathKind::power_fail) {
    at.noticed = at.fenced = v.move.begun.load();
  } else {
    at.noticed = fabric_->failures[id].suspect_ns.load();
    at.fenced = kind == DeathKind::host ? epoch_->figures.roll_asked_ns.load()
                                        : machine_->keepers[node].woken_ns.load();
  }
  return at;
}

Status Victim::come_back(u32 node) {
  DVM_TRY(add_again(node));
  return insist({{"command", "migrate-vcpu"}, {"vcpu", node}, {"to", node}});
}

Status Victim::replace_spare(u32 node) {
  DVM_TRY(end(node, DeathKind::kill));
  return add_again(node);
}

Status Victim::stop() { return ask({{"command", "stop"}}); }

Status Victim::add_again(u32 node) {
  DVM_TRY(wait_until("the node is taken off",
                     [&] { return machine_->nodes[node].stage == vmm::NodeStage::none; }));
  DVM_TRY(insist({{"command", "add-node"}}));
  return wait_until("the node is back",
                    [&] { return machine_->nodes[node].stage == vmm::NodeStage::active; });
}

Status Victim::ask(const json& request) {
  const auto done = connection_.ask(request);
  return done.ok() ? Status{} : Status{done.error()};
}

// What is refused may be possible a moment later.
Status Victim::insist(const json& request) {
  Status last;
  const Status in_time = wait_until(request.dump(), [&] { return (last = ask(request)).ok(); });
  if (in_time.ok() || last.ok()) return in_time;
  return error("{}: {}", in_time.error().message, last.error().message);
}

Status Victim::wait_until(const std::string& what, const std::function<bool()>& so) const {
  const u64 until = fabric::monotonic_ns() + kPatienceNs;
  while (!so()) {
    if (fabric::monotonic_ns() > until || machine_->control.phase == vmm::Phase::stopped)
      return error("waited for this in vain: {}", what);
    std::this_thread::sleep_for(kLook);
  }
  return {};
}

}  // namespace dvm::tools
