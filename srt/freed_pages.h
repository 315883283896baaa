// Pages that the guest has freed and whose memory is about to go: what they hold of disks stays.
#pragma once

#include "hyperkernel/guest_memory.h"
#include "srt/replica_table.h"

namespace dvm::srt {

// Copies blocks that lie in RAM's whole pages [gpa, gpa + bytes) into frames of the table's own, as
// far as these go. `ram` is that of boot `boot`, which runs. What is no RAM is passed over. Returns
// how many blocks. Threads: any.
u64 keep_blocks(ReplicaTable& table, const hyperkernel::GuestMemory& ram, u32 boot, u64 gpa,
                u64 bytes);

}  // namespace dvm::srt
