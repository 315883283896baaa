// Which blocks a guest wanted when it last booted, for one that boots with all memory gone: text
// that outlives the machine (docs/srt.md has its format).
//
// Who reads one reads what anybody may have written: parse_warm_list is the one door, and all that
// has passed it is in range.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fabric/result.h"
#include "srt/replica_record.h"

namespace dvm::srt {

// A disk as its user names it, and its size in bytes: a list is of use to no other.
struct WarmDisk {
  std::string path;
  u64 bytes = 0;
  friend bool operator==(const WarmDisk&, const WarmDisk&) = default;
};

struct WarmList {
  std::vector<WarmDisk> disks;
  std::vector<BlockRun> runs;  // `disk` is an index of `disks`; what is wanted first comes first
  friend bool operator==(const WarmList&, const WarmList&) = default;
};

// No list's text is longer; of one that would be, the last runs are left out.
inline constexpr u64 kMostWarmBytes = 64 * kMiB;
inline constexpr u32 kMostWarmDisks = 64;

std::string warm_text(const WarmList& list);
// Error: what is wrong with it, in one line. Each run is of a disk that is listed, has a block at
// least, and lies within its disk.
Result<WarmList> parse_warm_list(std::string_view text);

}  // namespace dvm::srt
