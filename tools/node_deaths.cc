// What becomes of a node that has ended: its keeper is awaited, or the guest goes back to its last
// epoch, or it ends.
#include <algorithm>
#include <chrono>

#include "tools/message.h"
#include "tools/node_supervisor.h"
#include "tools/recovery_count.h"
#include "vmm/epoch_record.h"

namespace dvm::tools {

using fabric::EventKind;
using vmm::NodeStage;
using vmm::Phase;

namespace {

bool others_take_vcpus(const vmm::Machine& machine, u32 node) {
  for (u32 other = 0; other < vmm::layout::kMaxNodes; ++other) {
    if (other != node && machine.takes_vcpus(other)) return true;
  }
  return false;
}

}  // namespace

// The guest goes on if the keeper has done its work, and when that is over is known by its end.
void NodeSupervisor::await_keeper(Watched& node) {
  const pid_t pid = machine_.state().keepers[node.process.index()].pid.exchange(0);
  if (machine_.config().protection == vmm::Protection::none || pid <= 0) {
    if (!roll_back(node)) tell_end(node);
    return;
  }
  auto keeper = KeeperProcess::watch(io_, pid, [this, &node] { keeper_ended(node); });
  if (!keeper.ok()) return tell_end(node);
  node.keeper.emplace(keeper.take());
}

void NodeSupervisor::keeper_ended(Watched& node) {
  const u32 index = node.process.index();
  const vmm::KeeperRecord& record = machine_.state().keepers[index];
  node.keeper.reset();
  if (record.state.load() != vmm::KeeperState::done ||
      machine_.state().control.phase.load() == Phase::stopped) {
    if (!roll_back(node)) tell_end(node);
    return;
  }
  const u32 vcpus = record.given_up.load();
  const u64 ns = record.done_ns.load() - record.woken_ns.load();
  say("node {} (pid {}) died: {} - {} of its vCPUs go on elsewhere", index, node.process.pid(),
      describe_wait_status(node.status), vcpus);
  machine_.log_event(EventKind::node_died,
                     {index, static_cast<u64>(node.process.pid()), static_cast<u64>(node.status)});
  machine_.log_event(EventKind::node_recovered, {index, vcpus, ns});
  count_recovery(machine_, *fabric_, index);
  take_off(index);
  all_may_have_ended();
}

// The node has stopped. Where its keeper has, too, and has not done its work, there is nothing to
// wait for: not for the kernel, which may be taking gigabytes of memory apart.
void NodeSupervisor::look_at_keeper(pid_t pid, u32 looks) {
  constexpr auto kLook = std::chrono::milliseconds(1);
  constexpr u32 kLooks = 500;  // then its end will tell
  const auto found =
      std::ranges::find(nodes_, pid, [](const Watched& w) { return w.process.pid(); });
  if (found == nodes_.end()) return;
  Watched& node = *found;
  const vmm::KeeperRecord& record = machine_.state().keepers[node.process.index()];
  if (node.ended || node.lost || looks == kLooks || record.state.load() == vmm::KeeperState::done)
    return;
  if (fabric::life_stopped(record.life.value.load())) {
    retire(node.process);
    roll_back(node);
    return;
  }
  node.rolls_back.emplace(io_, kLook);
  node.rolls_back->async_wait([this, pid, looks](const asio::error_code& cancelled) {
    if (!cancelled) look_at_keeper(pid, looks + 1);
  });
}

// Nobody has read out its vCPUs: with epochs, the living go back to the last one. False: that
// cannot be, or need not.
bool NodeSupervisor::roll_back(Watched& node) {
  if (node.lost) return true;
  const u32 index = node.process.index();
  vmm::EpochRecord* record = machine_.epoch();
  const NodeStage stage = machine_.state().nodes[index].stage.load();
  const bool survived = others_take_vcpus(machine_, index);
  if (record == nullptr || !survived || killing_ || stage == NodeStage::starting ||
      machine_.state().control.phase.load() == Phase::stopped || holds_nothing(index)) {
    return false;
  }
  node.lost = true;
  say("node {} (pid {}) is lost, and its keeper with it: the guest goes back to its last epoch",
      index, node.process.pid());
  fence_servers(index);
  vmm::ask_to_roll_back(*record);
  node.rolls_back.emplace(io_);
  await_roll_back(node);
  return true;
}

// Its number is not given to another before, nor before its processes have been collected.
void NodeSupervisor::await_roll_back(Watched& node) {
  constexpr auto kLook = std::chrono::milliseconds(5);
  const bool stopped = machine_.state().control.phase.load() == Phase::stopped;
  const bool over = stopped || !vmm::rolls_back(machine_.epoch());
  if (over && node.ended && !node.keeper) {
    node.rolls_back.reset();
    log_death(node.process, node.status);
    take_off(node.process.index());
    return all_may_have_ended();
  }
  node.rolls_back->expires_after(kLook);
  node.rolls_back->async_wait([this, &node](const asio::error_code& cancelled) {
    if (!cancelled) await_roll_back(node);
  });
}

}  // namespace dvm::tools
