#include "migration/vcpu_mover.h"

#include <chrono>
#include <thread>

namespace dvm::migration {

using vmm::Machine;
using vmm::MoveRefusal;
using vmm::NodeStage;
using vmm::Phase;
using vmm::PlaceStage;
using vmm::PlaceStep;
using vmm::VcpuPlace;
using vmm::VcpuRecord;
namespace layout = vmm::layout;

namespace {

// Seldom: on a host with few processors each look is taken from the vCPU that is awaited.
constexpr std::chrono::milliseconds kNap{2};

std::string_view refusal_text(MoveRefusal why) {
  switch (why) {
    case MoveRefusal::none: break;
    case MoveRefusal::target_died: return "the node died before the vCPU was there";
    case MoveRefusal::target_failed:
      return "the node could not take it, and says why on its stderr";
    case MoveRefusal::source_failed: return "its state could not be read; its node says why";
    case MoveRefusal::target_empty: return "the node is being evacuated";
    case MoveRefusal::timed_out: return "it took too long";
    case MoveRefusal::source_died: return "the node that it was on died, or lost its power";
    case MoveRefusal::reset: return "the guest was reset meanwhile";
  }
  return "it was asked to go elsewhere meanwhile";
}

Status check_phase(const Machine& machine) {
  switch (machine.state().control.phase.load()) {
    case Phase::running:
    case Phase::paused: return {};
    case Phase::resetting: return error("the guest is starting; allowed: running or paused");
    case Phase::stopped: break;
  }
  return error("the guest has stopped");
}

Status check_target(const Machine& machine, u32 to) {
  const bool there =
      to < layout::kMaxNodes && machine.state().nodes[to].stage.load() != NodeStage::none;
  if (!there) return error("node {} is not there; allowed: {}", to, taking_nodes(machine));
  if (!machine.takes_vcpus(to))
    return error("node {} takes no vCPUs; allowed: {}", to, taking_nodes(machine));
  return {};
}

// A debugger may be writing what a move would read.
Status check_debugger(const Machine& machine) {
  const auto& state = machine.state();
  if (state.debug.attached.load() == 0 || state.control.phase.load() != Phase::paused) return {};
  return error("a debugger has the guest stopped; allowed: while it runs");
}

}  // namespace

std::string taking_nodes(const Machine& machine) {
  std::string text;
  for (u32 n = 0; n < layout::kMaxNodes; ++n) {
    if (machine.takes_vcpus(n)) text += fmt::format("{}{}", text.empty() ? "" : ", ", n);
  }
  return text.empty() ? "none" : text;
}

Result<bool> ask_move(Machine& machine, u32 vcpu, u32 to) {
  const u32 vcpus = machine.config().vcpus;
  if (vcpu >= vcpus) return error("vCPU {} is not there; allowed: 0 to {}", vcpu, vcpus - 1);
  DVM_TRY(check_phase(machine));
  DVM_TRY(check_target(machine, to));
  DVM_TRY(check_debugger(machine));
  VcpuRecord& v = machine.state().vcpus[vcpu];
  const PlaceStep ask{PlaceStep::Kind::ask, static_cast<u8>(to)};
  if (vmm::take_step(v.place, ask)) {
    fabric::ring(machine.state().nodes[to].bell);
    fabric::ring(v.arrival);
    return true;
  }
  const VcpuPlace place = v.where();
  if (place.stage != PlaceStage::settled) {
    return error("vCPU {} is on its way to node {}", vcpu,
                 place.stage == PlaceStage::arriving ? place.node : place.target);
  }
  return false;
}

// Its end is looked for now and then: who runs the vCPU has better things to do than to ring.
Result<MoveReport> await_move(Machine& machine, u32 vcpu, u32 to, u64 limit_ns) {
  VcpuRecord& v = machine.state().vcpus[vcpu];
  const u64 until = fabric::monotonic_ns() + limit_ns;
  for (;;) {
    const VcpuPlace place = v.where();
    if (place.stage == PlaceStage::settled && place.node == to) break;
    if (place.stage == PlaceStage::settled)
      return error("vCPU {} stays on node {}: {}", vcpu, place.node, refusal_text(place.refusal));
    if (machine.state().control.phase.load() == Phase::stopped)
      return error("the guest has stopped");
    if (fabric::monotonic_ns() > until) {
      const bool called_off = vmm::take_step(v.place, {.kind = PlaceStep::Kind::call_off,
                                                       .refusal = MoveRefusal::timed_out})
                                  .has_value();
      if (!called_off && fabric::monotonic_ns() > until + limit_ns)
        return error("vCPU {} does not arrive on node {}", vcpu, to);
    }
    std::this_thread::sleep_for(kNap);
  }
  fabric::ring(machine.state().nodes[to].bell);  // for the event
  // Settled just before it goes on.
  while (v.move.entered.load() < v.move.begun.load() && fabric::monotonic_ns() < until)
    std::this_thread::sleep_for(kNap);
  const u64 begun = v.move.begun.load(), entered = v.move.entered.load();
  return MoveReport{vcpu, v.move.from.load(), to, true, entered > begun ? entered - begun : 0};
}

Result<MoveReport> move_vcpu(Machine& machine, u32 vcpu, u32 to) {
  DVM_ASSIGN(const bool asked, ask_move(machine, vcpu, to));
  if (!asked) return MoveReport{vcpu, to, to, false, 0};
  return await_move(machine, vcpu, to);
}

}  // namespace dvm::migration
