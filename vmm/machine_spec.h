// What a machine is made from.
#pragma once

#include <optional>
#include <string>

#include "hyperkernel/locality/locality_record.h"
#include "vmm/machine_state.h"

namespace dvm::vmm {

struct MachineSpec {
  MachineConfig config;
  std::array<u16, layout::kMaxVcpus> placement{};  // vCPU -> node
  std::array<u64, kMaxFunctions> capacity{};       // of block functions, in bytes
  std::string pool_path;                           // empty: memfd
  // Software coherence: bytes of the region where pages are that nodes share, and of each node's
  // local memory (0: as much as there is RAM). Whole pages. Nothing: the pool is hardware-coherent.
  struct Coherence {
    u64 coherent_bytes = 0;
    u64 local_bytes = 0;
  };
  std::optional<Coherence> coherence;
  locality::PolicyKind policy = locality::PolicyKind::fixed;
  u32 epoch_ms = 100;  // with Protection::epoch: how long one lasts at most
  // The replica table, and what it may take beside RAM, in bytes; nothing: there is none.
  std::optional<u64> replica_bytes;
  u64 tsc_offset = 0;  // makes the guest's TSC start near 0
  // What the launcher wants to be given back when the machine is resumed, at most kMaxLaunchBytes.
  std::string launch;
  bool has_origin = false;  // its RAM comes from where it was saved (hyperkernel/origin_record.h)
};

}  // namespace dvm::vmm
