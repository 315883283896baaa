// What becomes of a node that has ended: its keeper is awaited, or the guest goes back to its last
// epoch, or it ends.
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

// Nobody has read out its vCPUs: with epochs, the living go back to the last one. False: that
// cannot be, or need not.
bool NodeSupervisor::roll_back(Watched& node) {
  const u32 index = node.process.index();
  vmm::EpochRecord* record = machine_.epoch();
  const NodeStage stage = machine_.state().nodes[index].stage.load();
  const bool survived = others_take_vcpus(machine_, index);
  if (record == nullptr || !survived || killing_ || stage == NodeStage::starting ||
      machine_.state().control.phase.load() == Phase::stopped || holds_nothing(index)) {
    return false;
  }
  say("node {} (pid {}) died: {} - nothing is left of it, the guest goes back to its last epoch",
      index, node.process.pid(), describe_wait_status(node.status));
  log_death(node.process, node.status);
  vmm::ask_to_roll_back(*record);
  node.rolls_back.emplace(io_);
  await_roll_back(node);
  return true;
}

// Its number is not given to another before.
void NodeSupervisor::await_roll_back(Watched& node) {
  constexpr auto kLook = std::chrono::milliseconds(5);
  const bool stopped = machine_.state().control.phase.load() == Phase::stopped;
  if (stopped || !vmm::rolls_back(machine_.epoch())) {
    node.rolls_back.reset();
    take_off(node.process.index());
    return all_may_have_ended();
  }
  node.rolls_back->expires_after(kLook);
  node.rolls_back->async_wait([this, &node](const asio::error_code& cancelled) {
    if (!cancelled) await_roll_back(node);
  });
}

}  // namespace dvm::tools
