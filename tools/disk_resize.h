// `dvm-ctl resize-disk`: a disk that is larger from now on, for the running guest.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "tools/disk_launch.h"
#include "vmm/machine.h"

namespace dvm::tools {

// {"disk": NUMBER|PATH|SERIAL, "bytes": N}  grows a raw file to N bytes;
// {"disk": ..., "to_file": true}            looks at a file or device that was grown by others.
// A disk never shrinks. The guest is told at once; every node goes by the new size.
// `disks` is null when the guest's disks are not to be reached from here.
Result<nlohmann::json> resize_disk(const nlohmann::json& request, vmm::Machine& machine,
                                   const GuestDisks* disks);

}  // namespace dvm::tools
