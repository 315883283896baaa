// A machine made anew from a checkpoint: on as many nodes, with as much protection, and in as many
// copies as one likes. The file stays as it is.
#pragma once

#include "vmm/checkpoint/image.h"
#include "vmm/machine.h"

namespace dvm::vmm::checkpoint {

struct Restorable {
  File file;
  Image image;
};
// Looks at all but the pages, which are looked at when they are needed.
Result<Restorable> open_restorable(const std::string& path);

// How pages come to the new machine: when they are touched, or, where the pool is in a file that
// outlives its processes, or epochs follow what is written, all of them before it runs.
bool pages_come_on_touch(const MachineSpec& spec);

// Its nodes are to be started as those of a new machine. `spec`: as the launcher would make the
// machine now; what the guest knows of it has to be as it was. `from.file` stays open as long as
// the machine runs. `go_on`: asked while pages are read, of so many.
Result<std::unique_ptr<Machine>> restore_machine(Restorable& from, MachineSpec spec,
                                                 const std::function<Status(u64 pages)>& go_on);

}  // namespace dvm::vmm::checkpoint
