// What became of nodes that ended while the guest went on, for people.
#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "vmm/machine_state.h"

namespace dvm::tools {

struct RecoveryFigures {
  std::array<u64, vmm::kRecoveryKinds> by_kind{};
  struct Last {
    u32 node;
    u64 took_ns;
  };
  std::optional<Last> last;  // that a keeper carried out
};

RecoveryFigures recovery_figures(const vmm::MachineState& state);
nlohmann::json recoveries_json(const vmm::MachineState& state);
// "2 killed, 1 hung"; empty: none.
std::string recoveries_text(const nlohmann::json& recoveries);
// What the vCPU stood still for when it last changed its node; 0: it did not, or is about to.
u64 last_pause_ns(const vmm::VcpuRecord& vcpu);

}  // namespace dvm::tools
