#include "vmm/replica_sweep.h"

#include <algorithm>

#include "fabric/claim.h"
#include "vmm/boot/e820.h"

namespace dvm::vmm {
namespace {

using srt::ReplicaPlace;
using srt::ReplicaTable;

// A page of RAM's layout, by guest address.
std::optional<u64> page_of(const std::vector<RamPart>& layout, u64 gpa) {
  for (const RamPart& part : layout) {
    if (gpa >= part.gpa && gpa - part.gpa < part.bytes)
      return (part.offset + gpa - part.gpa) / kPageBytes;
  }
  return std::nullopt;
}

}  // namespace

std::vector<bool> pages_with_blocks(ReplicaTable& table, u64 ram_bytes, u32 boot, u64 budget) {
  const auto layout = ram_layout(ram_bytes);
  std::vector<ReplicaTable::Listed> found;
  table.each([&](const ReplicaTable::Listed& listed) {
    const ReplicaPlace& place = listed.replica.place;
    if (place.kind == ReplicaPlace::Kind::ram && place.boot == static_cast<u16>(boot))
      found.push_back(listed);
  });
  // What a boot needs it uses first.
  std::ranges::sort(found, {}, [](const auto& l) { return l.order; });
  std::vector<bool> keep(ram_bytes / kPageBytes);
  u64 kept = 0;
  for (const auto& listed : found) {
    const u64 gpa = listed.replica.place.at;
    const auto first = page_of(layout, gpa), last = page_of(layout, gpa + srt::kBlockBytes - 1);
    const u64 more = !first || !last ? 0 : u64{!keep[*first]} + (*last != *first && !keep[*last]);
    if (!first || !last || kept + more > budget) {
      table.drop(listed.key, listed.replica, srt::Dropped::displaced);
      continue;
    }
    keep[*first] = keep[*last] = true;
    kept += more;
  }
  return keep;
}

ReplicaSweep::~ReplicaSweep() {
  stopping_.store(true);
  if (thread_.joinable()) thread_.join();
}

void ReplicaSweep::look() {
  ReplicaTable* const table = machine_.replicas();
  const u32 boot = machine_.state().control.boots.load();
  if (table == nullptr || boot < 2 || !machine_.has_ram_for_each_boot() ||
      table->swept().load(std::memory_order_relaxed) == boot)
    return;
  if (!fabric::claim(table->sweeper(), machine_.self(), machine_.instances())) return;
  if (thread_.joinable()) thread_.join();
  thread_ = std::thread([this, boot] {
    sweep(boot);
    fabric::disclaim(machine_.replicas()->sweeper());
  });
}

void ReplicaSweep::sweep(u32 boot) {
  ReplicaTable& table = *machine_.replicas();
  const auto layout = ram_layout(machine_.config().memory_bytes);
  const auto none_of_it = [&] {
    return stopping_.load() || machine_.state().control.boots.load() != boot;
  };
  if (boot > 2 && !none_of_it()) machine_.release_ram(boot - 2, 0, ~u64{0});
  const u64 taken = table.table_bytes() + table.kept_frames() * kPageBytes;
  const u64 budget = table.budget() > taken ? (table.budget() - taken) / kPageBytes : 0;
  const auto keep = pages_with_blocks(table, machine_.config().memory_bytes, boot - 1, budget);
  for (const RamPart& part : layout) {
    const u64 begin = part.offset / kPageBytes, end = begin + part.bytes / kPageBytes;
    for (u64 page = begin; page < end;) {
      u64 last = page;
      while (last < end && keep[last] == keep[page]) ++last;
      if (none_of_it()) return;
      if (!keep[page]) {
        machine_.release_ram(boot - 1, part.gpa + (page - begin) * kPageBytes,
                             (last - page) * kPageBytes);
      }
      page = last;
    }
  }
  table.swept().store(boot);
}

}  // namespace dvm::vmm
