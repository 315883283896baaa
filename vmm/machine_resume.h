// A machine whose processes are all gone goes on from what its pool holds.
//
// Fabric state is made anew, as for a new machine; guest state is put back. Nothing that tells
// where to go on from (resume_point) is changed before all else is done, in one store: who dies in
// between leaves a pool that can be resumed still.
#pragma once

#include "hyperkernel/page_sums.h"
#include "vmm/machine.h"
#include "vmm/resume_record.h"

namespace dvm::vmm {

struct ResumablePool {
  fabric::Pool pool;  // locked: it is this process's
  ResumePoint point;
  MachineConfig config;
  std::array<u64, kMaxFunctions> capacity;  // as MachineSpec's
  std::string launch;                       // MachineSpec::launch
};
// The error says what is wrong with the pool, or why its guest cannot go on. Waits so
// long for processes of the guest that are being killed. Changes nothing.
Result<ResumablePool> open_resumable(const std::string& path, u64 patience_ms = 10'000);

// Its nodes are to be started as those of a new machine. `spec`: as the launcher would make the
// machine now; of it the frequency of this host's TSC, the placement and the policy count.
Result<std::unique_ptr<Machine>> resume_machine(ResumablePool resumable, const MachineSpec& spec);

// The power of the whole machine has failed, all of its nodes have left, and its vCPUs' states are
// in the pool: `resume_point` finds a save from here on. False: they are not, or nothing would find
// it.
bool keep_save(Machine& machine);

// Parts of a resumption that a checkpoint's has too (checkpoint/restore.h).
Status check_tsc(std::string_view name, u64 was_khz, u64 now_khz);
// The epoch that runs from now on begins with this. Nobody runs the machine.
void begin_epoch_with(EpochRecord& epoch, const MachineState& state, const GuestBank& saved,
                      hyperkernel::PageSums sums);

}  // namespace dvm::vmm
