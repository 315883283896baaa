#include "migration/evacuation.h"

#include <chrono>
#include <thread>

#include "migration/spread.h"

namespace dvm::migration {

using vmm::Machine;
using vmm::NodeStage;
using vmm::Phase;
namespace layout = vmm::layout;

namespace {

constexpr std::chrono::milliseconds kNap{1};

std::vector<u32> others(const Machine& machine, u32 node) {
  std::vector<u32> found;
  for (u32 n = 0; n < layout::kMaxNodes; ++n) {
    if (n != node && machine.takes_vcpus(n)) found.push_back(n);
  }
  return found;
}

std::vector<u32> placement(const Machine& machine) {
  std::vector<u32> nodes(machine.config().vcpus);
  for (u32 v = 0; v < nodes.size(); ++v) nodes[v] = machine.state().vcpus[v].node();
  return nodes;
}

Status check_node(const Machine& machine, u32 node) {
  const bool there = node < layout::kMaxNodes &&
                     machine.state().nodes[node].stage.load() != NodeStage::none &&
                     machine.is_alive(node);
  if (!there) return error("node {} is not there; allowed: {}", node, taking_nodes(machine));
  if (others(machine, node).empty())
    return error("node {} is the last one that runs vCPUs: there is none for them to go to", node);
  return {};
}

// One round: all at once. Some may be on their way to it, or it is reset meanwhile: another round.
Status move_all(Machine& machine, u32 node, EvacuationReport& report) {
  const auto plan = spread(placement(machine), node, others(machine, node));
  std::vector<PlannedMove> asked;
  Status first;
  for (const PlannedMove& move : plan) {
    const auto begun = ask_move(machine, move.vcpu, move.to);
    if (begun.ok()) asked.push_back(move);
    if (!begun.ok() && first.ok()) first = begun.error();
  }
  for (const PlannedMove& move : asked) {
    const auto moved = await_move(machine, move.vcpu, move.to);
    if (moved.ok()) report.moves.push_back(*moved);
    if (!moved.ok() && first.ok()) first = moved.error();
  }
  return first;
}

bool has_vcpus(const Machine& machine, u32 node) {
  for (u32 v = 0; v < machine.config().vcpus; ++v) {
    const auto place = machine.state().vcpus[v].where();
    const bool comes = place.stage != vmm::PlaceStage::settled && place.target == node;
    if (place.node == node || comes) return true;
  }
  return false;
}

Status move_until_empty(Machine& machine, u32 node, u64 until, EvacuationReport& report) {
  while (has_vcpus(machine, node)) {
    Status round = machine.state().control.phase.load() == Phase::stopped
                       ? Status(error("the guest has stopped"))
                       : move_all(machine, node, report);
    if (others(machine, node).empty()) return error("no other node is left");
    if (!round.ok() && fabric::monotonic_ns() > until) return round;
    if (machine.state().control.phase.load() == Phase::stopped) return round;
    if (!round.ok()) std::this_thread::sleep_for(kNap);
  }
  return {};
}

}  // namespace

Result<EvacuationReport> evacuate(Machine& machine, u32 node) {
  DVM_TRY(check_node(machine, node));
  auto& stage = machine.state().nodes[node].stage;
  EvacuationReport report{node, {}};
  NodeStage active = NodeStage::active;
  if (!stage.compare_exchange_strong(active, NodeStage::emptying)) {
    if (active == NodeStage::empty) return report;
    return error("node {} is {}", node,
                 active == NodeStage::starting ? "starting" : "on its way out already");
  }
  const u64 until = fabric::monotonic_ns() + kEvacuationLimitNs;
  if (const Status moved = move_until_empty(machine, node, until, report); !moved.ok()) {
    NodeStage emptying = NodeStage::emptying;
    stage.compare_exchange_strong(emptying, NodeStage::active);
    return moved.error();
  }
  fabric::ring(machine.state().nodes[node].bell);
  while (stage.load() == NodeStage::emptying) {
    if (machine.state().control.phase.load() == Phase::stopped)
      return error("the guest has stopped");
    if (!machine.is_alive(node)) return error("node {} died", node);
    if (fabric::monotonic_ns() > until + kEvacuationLimitNs)
      return error("node {} does not give up what it holds", node);
    std::this_thread::sleep_for(kNap);
  }
  machine.log_event(fabric::EventKind::node_evacuated, {node, report.moves.size()});
  return report;
}

Status ask_to_leave(Machine& machine, u32 node) {
  NodeStage empty = NodeStage::empty;
  if (!machine.state().nodes[node].stage.compare_exchange_strong(empty, NodeStage::leaving))
    return error("node {} is not empty", node);
  fabric::ring(machine.state().nodes[node].bell);
  return {};
}

}  // namespace dvm::migration
