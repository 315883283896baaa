#include "tools/bench/death_bench.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>

#include "fabric/fabric_state.h"
#include "fabric/pool.h"
#include "tools/bench/console_run.h"
#include "tools/bench/guest_script.h"
#include "tools/guest_connection.h"
#include "vmm/epoch_record.h"
#include "vmm/machine_state.h"

namespace dvm::tools {
namespace {

using nlohmann::json;

constexpr u32 kNodes = 3;  // with one vCPU each
constexpr u64 kPatienceNs = 60'000'000'000;
constexpr std::array<int, kDeathKinds> kSignals = {SIGKILL, SIGSTOP, SIGPWR, SIGKILL};

// The guest whose nodes die. Its pool is looked at, and not written.
class Victim {
 public:
  static Result<Victim> open(const std::string& name, const std::string& pool_path) {
    DVM_ASSIGN(Fd fd, Fd::open(pool_path, O_RDWR));
    DVM_ASSIGN(fabric::Pool pool, fabric::Pool::attach(std::move(fd), pool_path));
    DVM_ASSIGN(const RunningGuest guest, find_guest(name));
    DVM_ASSIGN(GuestConnection connection, GuestConnection::open(guest));
    Victim v(std::move(pool), std::move(connection));
    DVM_ASSIGN(v.machine_, v.pool_.record<vmm::MachineState>(fabric::RegionKind::machine,
                                                             vmm::kMachineVersion));
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

  // Node N ends, vCPU N is seen elsewhere, and all is as before.
  Status die(u32 n, DeathKind kind, DeathSamples& samples) {
    const u32 id = vmm::kFirstNodeInstance + n;
    const vmm::VcpuRecord& v = machine_->vcpus[n];
    DeathInstants at;
    at.end = fabric::monotonic_ns();
    if (kind == DeathKind::host) ::kill(machine_->keepers[n].pid.load(), SIGKILL);
    if (::kill(instances_->slots[id].pid.load(), kSignals[static_cast<u32>(kind)]) < 0)
      return sys_error(fmt::format("kill node {}", n));
    DVM_TRY(wait_until("its vCPU runs elsewhere", [&] {
      return v.node() != n && v.where().stage == vmm::PlaceStage::settled &&
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
                                          : machine_->keepers[n].woken_ns.load();
    }
    add_death(at, samples);
    return come_back(n);
  }
  Status stop() { return ask({{"command", "stop"}}); }

 private:
  Victim(fabric::Pool pool, GuestConnection connection)
      : pool_(std::move(pool)), connection_(std::move(connection)) {}

  Status ask(const json& request) {
    const auto done = connection_.ask(request);
    return done.ok() ? Status{} : Status{done.error()};
  }
  // What is refused may be possible a moment later.
  Status insist(const json& request) {
    Status last;
    DVM_TRY(wait_until(request.dump(), [&] { return (last = ask(request)).ok(); }));
    return last;
  }
  Status wait_until(const std::string& what, const std::function<bool()>& so) const {
    const u64 until = fabric::monotonic_ns() + kPatienceNs;
    while (!so()) {
      if (fabric::monotonic_ns() > until || machine_->control.phase == vmm::Phase::stopped)
        return error("waited for this in vain: {}", what);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return {};
  }
  Status come_back(u32 n) {
    DVM_TRY(wait_until("the node is taken off",
                       [&] { return machine_->nodes[n].stage == vmm::NodeStage::none; }));
    DVM_TRY(insist({{"command", "add-node"}}));
    DVM_TRY(wait_until("the node is back",
                       [&] { return machine_->nodes[n].stage == vmm::NodeStage::active; }));
    return insist({{"command", "migrate-vcpu"}, {"vcpu", n}, {"to", n}});
  }

  fabric::Pool pool_;
  GuestConnection connection_;
  const vmm::MachineState* machine_ = nullptr;
  const vmm::EpochRecord* epoch_ = nullptr;  // with epochs
  const fabric::FabricState* fabric_ = nullptr;
  const fabric::InstanceTable* instances_ = nullptr;
};

Result<DeathFigures> let_nodes_die(const std::string& name, const std::string& pool_path,
                                   std::span<const DeathKind> kinds, u32 deaths) {
  DVM_ASSIGN(Victim victim, Victim::open(name, pool_path));
  DeathFigures figures;
  for (u32 i = 0; i < deaths; ++i) {
    for (const DeathKind kind : kinds) {
      const u32 number = static_cast<u32>(kind);
      DVM_TRY(victim.die((i + number) % kNodes, kind, figures[number]));
    }
  }
  DVM_TRY(victim.stop());
  return figures;
}

}  // namespace

void add_death(const DeathInstants& at, DeathSamples& samples) {
  const u64 noticed = at.noticed < at.end ? at.fenced : std::min(at.noticed, at.fenced);
  const std::array<u64, kDeathParts.size() + 1> instants = {at.end,       noticed,   at.fenced,
                                                            at.committed, at.loaded, at.entered};
  const auto us = [](u64 from, u64 to) {
    return (static_cast<double>(to) - static_cast<double>(from)) / 1000;
  };
  samples.pause_us.push_back(us(at.end, at.entered));
  for (std::size_t i = 0; i < kDeathParts.size(); ++i)
    samples.parts_us[i].push_back(us(instants[i], instants[i + 1]));
}

Result<DeathFigures> measure_deaths(const RecoveryOptions& options, const std::string& protect,
                                    std::span<const DeathKind> kinds, const std::string& dvm_run) {
  const std::string name = fmt::format("bench-recovery-{}", ::getpid());
  const std::string pool = "/dev/shm/dvm-" + name;
  std::optional<Result<DeathFigures>> figures;
  const ConsoleRequest request{
      .words = {dvm_run, "--name", name, "--pool", pool, "--protect", protect, "--nodes",
                fmt::to_string(kNodes), "--cpus", fmt::to_string(kNodes), "--memory",
                fmt::to_string(options.memory), "--kernel", options.kernel, "--initrd",
                options.initrd, "--append=" + busy_append(kNodes)},
      .marker = "DVM-USERSPACE",
      .limit_s = options.limit_s + 10.0 * kDeathKinds * options.deaths,
      .at_marker = [&] { figures = let_nodes_die(name, pool, kinds, options.deaths); },
      .on_line = {}};
  const auto run = run_on_console(request);
  ::unlink(pool.c_str());
  if (!run.ok()) return run.error();
  if (!figures) return error("the guest did not start: {}", run->tail);
  return std::move(*figures);
}

}  // namespace dvm::tools
