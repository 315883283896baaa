#include "srt/block_runs.h"

#include <algorithm>
#include <tuple>

namespace dvm::srt {
namespace {

// So many blocks (8 MiB) are used soon after each other.
constexpr std::size_t kTogether = 2048;
constexpr u32 kMostInRun = 1 << 20;

bool adjoins(const BlockRun& run, BlockKey key) {
  return run.disk == key.disk && run.first + run.blocks == key.block && run.blocks < kMostInRun;
}

}  // namespace

std::vector<UsedBlock> used_blocks(const ReplicaTable& table) {
  std::vector<UsedBlock> used;
  table.each([&](const ReplicaTable::Listed& listed) {
    if (listed.boot != 0) used.push_back({listed.key, listed.boot, listed.order});
  });
  return used;
}

std::vector<BlockRun> runs_of(std::vector<UsedBlock> used, const RunLimits& limits) {
  std::ranges::sort(used, [](const UsedBlock& a, const UsedBlock& b) {
    return std::tuple(b.boot, a.order, a.key.packed()) <
           std::tuple(a.boot, b.order, b.key.packed());
  });
  if (used.size() > limits.blocks) used.resize(limits.blocks);
  std::vector<BlockRun> runs;
  for (std::size_t at = 0; at < used.size(); at += kTogether) {
    const auto some = std::span(used).subspan(at, std::min(kTogether, used.size() - at));
    std::ranges::sort(some, {}, [](const UsedBlock& b) { return b.key.packed(); });
    for (const auto& [key, boot, order] : some) {
      if (!runs.empty() && adjoins(runs.back(), key)) {
        ++runs.back().blocks;
        continue;
      }
      if (runs.size() == limits.runs) return runs;
      runs.push_back({.first = key.block, .blocks = 1, .disk = key.disk});
    }
  }
  return runs;
}

}  // namespace dvm::srt
