// A checkpoint of a running guest, taken by its launcher.
#pragma once

#include "vmm/checkpoint/stand_still.h"
#include "vmm/checkpoint/writer.h"

namespace dvm::vmm::checkpoint {

// Error: the guest is of a kind that no checkpoint can be taken of.
Status can_be_taken(const Machine& machine);
// All but RAM. It stands still.
Result<Image> image_of(Machine& machine, const StandStill& still);
// RAM and what lies behind the firmware, as they are while it stands still. `machine` outlives it.
// Pages that were never touched stay so. `go_on` as Source::go_on.
Result<Source> pages_of(Machine& machine, std::function<Status(u64 pages)> go_on);

}  // namespace dvm::vmm::checkpoint
