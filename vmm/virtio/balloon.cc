#include "vmm/virtio/balloon.h"

#include <algorithm>
#include <cstring>

#include "vmm/virtio/device.h"

namespace dvm::vmm {
namespace {

using hyperkernel::GuestMemory;

constexpr u32 kClassOther = 0x00'ff00;  // no class fits; what QEMU's balloon shows

constexpr std::array<std::string_view, kBalloonStats> kStatNames = {
    "swap_in",      "swap_out",         "major_faults", "minor_faults",        "free_memory",
    "total_memory", "available_memory", "disk_caches",  "hugetlb_allocations", "hugetlb_failures"};

// The readable bytes of a chain, at most `most`.
Result<std::vector<std::byte>> readable_bytes(const Chain& chain, const GuestMemory& memory,
                                              u64 most) {
  std::vector<std::byte> bytes;
  for (const Segment& segment : chain.readable()) {
    const u64 part = std::min<u64>(segment.bytes, most - bytes.size());
    if (part == 0) break;
    bytes.resize(bytes.size() + part);
    DVM_TRY(memory.read(segment.gpa, std::span(bytes).last(part)));
  }
  return bytes;
}

}  // namespace

BalloonQueue balloon_queue(u16 queue, u64 features) {
  if (queue == 0) return BalloonQueue::inflate;
  if (queue == 1) return BalloonQueue::deflate;
  const bool stats = (features & virtio::kBalloonFeatureStats) != 0;
  const bool reporting = (features & virtio::kBalloonFeatureReporting) != 0;
  if (stats && queue == 2) return BalloonQueue::stats;
  return reporting && queue == (stats ? 3 : 2) ? BalloonQueue::reporting : BalloonQueue::none;
}

u16 balloon_stats_queue() { return 2; }

VirtioPciState make_virtio_balloon(u64 target_bytes) {
  std::array<u16, kBalloonQueues> sizes{};
  sizes.fill(kBalloonQueueSize);
  const virtio::BalloonConfig config{static_cast<u32>(target_bytes / kBalloonPageBytes), 0};
  std::array<u8, sizeof(config)> bytes{};
  std::memcpy(bytes.data(), &config, sizeof(config));
  return make_virtio_pci({.id = virtio::DeviceId::balloon,
                          .class_code = kClassOther,
                          .features = virtio::kBalloonFeatureStats |
                                      virtio::kBalloonFeatureDeflateOnOom |
                                      virtio::kBalloonFeatureReporting,
                          .queue_sizes = sizes,
                          .config = bytes,
                          .config_writable_begin = offsetof(virtio::BalloonConfig, actual),
                          .config_writable_end = sizeof(config)});
}

void balloon_set_target(VirtioPciState& state, u64 bytes, Effects& effects) {
  const u32 pages = static_cast<u32>(bytes / kBalloonPageBytes);
  static_assert(offsetof(virtio::BalloonConfig, num_pages) == 0);
  std::memcpy(state.device_config.data(), &pages, sizeof(pages));
  virtio_config_changed(state, effects);
}

u64 balloon_actual(const VirtioPciState& state) {
  virtio::BalloonConfig config{};
  std::memcpy(&config, state.device_config.data(), sizeof(config));
  return u64{config.actual} * kBalloonPageBytes;
}

Result<std::vector<GuestRun>> balloon_frames(const Chain& chain, const GuestMemory& memory) {
  DVM_ASSIGN(const auto bytes, readable_bytes(chain, memory, kBalloonMaxFrames * sizeof(u32)));
  std::vector<u32> frames(bytes.size() / sizeof(u32));
  if (frames.empty()) return std::vector<GuestRun>();
  std::memcpy(frames.data(), bytes.data(), frames.size() * sizeof(u32));
  std::sort(frames.begin(), frames.end());
  frames.erase(std::unique(frames.begin(), frames.end()), frames.end());
  std::vector<GuestRun> runs;
  for (const u32 frame : frames) {
    const u64 gpa = u64{frame} * kBalloonPageBytes;
    if (!runs.empty() && runs.back().gpa + runs.back().bytes == gpa) {
      runs.back().bytes += kBalloonPageBytes;
    } else {
      runs.push_back({gpa, kBalloonPageBytes});
    }
  }
  return runs;
}

std::vector<GuestRun> balloon_reported(const Chain& chain) {
  std::vector<GuestRun> runs;
  for (const Segment& segment : chain.writable()) {
    const u64 begin = align_up(segment.gpa, kBalloonPageBytes);
    const u64 end = (segment.gpa + segment.bytes) / kBalloonPageBytes * kBalloonPageBytes;
    if (begin < end) runs.push_back({begin, end - begin});
  }
  return runs;
}

std::string_view balloon_stat_name(u32 tag) {
  return tag < kStatNames.size() ? kStatNames[tag] : std::string_view();
}

Result<BalloonStats> balloon_stats(const Chain& chain, const GuestMemory& memory) {
  constexpr u64 kMost = 64 * sizeof(virtio::BalloonStat);
  DVM_ASSIGN(const auto bytes, readable_bytes(chain, memory, kMost));
  BalloonStats stats;
  stats.fill(kBalloonNotTold);
  for (u64 at = 0; at + sizeof(virtio::BalloonStat) <= bytes.size();
       at += sizeof(virtio::BalloonStat)) {
    virtio::BalloonStat stat{};
    std::memcpy(&stat, bytes.data() + at, sizeof(stat));
    if (stat.tag < stats.size()) stats[stat.tag] = stat.value;
  }
  return stats;
}

}  // namespace dvm::vmm
