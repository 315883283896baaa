#include "tools/recovery_count.h"

namespace dvm::tools {
namespace {

using vmm::RecoveryKind;

void count(vmm::Machine& machine, u32 node, RecoveryKind kind) {
  machine.state().keepers[node].recoveries[static_cast<u32>(kind)].fetch_add(1);
}

}  // namespace

void count_recovery(vmm::Machine& machine, const fabric::FabricState& fabric, u32 node) {
  const u32 id = vmm::kFirstNodeInstance + node;
  const auto failure = fabric::look(fabric.failures[id]);
  // It has been retired, which moves the generation on.
  const bool its = failure.generation + 1 == machine.instances().slots[id].generation.load();
  const bool hung = its && failure.cause != fabric::FailureCause::died;
  count(machine, node, hung ? RecoveryKind::hung : RecoveryKind::killed);
}

void count_power_failure(vmm::Machine& machine, u32 node) {
  if (machine.state().nodes[node].power_fails.load() != 0)
    count(machine, node, RecoveryKind::power_failed);
}

}  // namespace dvm::tools
