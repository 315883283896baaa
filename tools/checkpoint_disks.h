// What a checkpoint knows of its guest's disks: which file each was and when that was written last,
// or where there is a copy of it, from which others go on.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tools/disk_launch.h"
#include "tools/run_settings.h"

namespace dvm::tools {

// Always as long, of so many disks.
Result<std::string> describe_disks(const GuestDisks* disks, const std::vector<DiskCopy>& copies);

// Whether they, or their copies, are still what they were then; the error names the first that is
// not. Before they are opened: to find out what a file can do changes its time. (A block device has
// none that tells.)
Status check_disks(const std::string& described, const std::vector<DiskOption>& disks);

// For each disk that has a copy: what this guest writes on top of it, in the folder
// `settings.overlays`, where it stays and `settings.launch` says so, or beside the disk, where it
// goes with the guest. Error: of these disks none has a copy, or what has to stay would not.
Result<std::map<u32, GuestDisks::Overlay>> make_overlays(const std::string& described,
                                                         RunSettings& settings);

// {"disks": [{"disk": N, "file": PATH}, …]} of a request: each that can be written, once.
Result<std::vector<DiskCopy>> copies_of(const nlohmann::json& request, const GuestDisks* disks);

}  // namespace dvm::tools
