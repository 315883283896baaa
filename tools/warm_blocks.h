// The blocks that a guest wants when it boots, between the replica table of a running machine,
// where disks are functions, and lists for later, where they are named (srt/warm_list.h).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "srt/warm_list.h"
#include "tools/disk_launch.h"
#include "vmm/machine.h"

namespace dvm::tools {

// The guest's disks by their absolute paths, in the order of the options.
std::vector<srt::WarmDisk> warm_disks(const GuestDisks& disks, const vmm::Machine& machine);
// What the table knows, as far as --srt-memory goes. Precondition: there is a table.
srt::WarmList warm_list_of(vmm::Machine& machine, std::vector<srt::WarmDisk> disks);

// What of a list is for these disks, with the functions that these are; and for each disk that is
// none of them, or has another size, why its blocks are left out.
struct WarmMatch {
  std::vector<srt::BlockRun> runs;
  std::vector<std::string> refused;
};
WarmMatch match_warm_list(const srt::WarmList& list, const std::vector<srt::WarmDisk>& disks);

// `dvm-ctl srt --blocks`: {"block_bytes": 4096, "disks": [{"path", "bytes"}, ...],
// "runs": [[index of disks, first block, blocks], ...]}, and that as the text of a list.
Result<nlohmann::json> blocks_json(vmm::Machine& machine, const GuestDisks* disks);
std::string blocks_text(const nlohmann::json& reply);

}  // namespace dvm::tools
