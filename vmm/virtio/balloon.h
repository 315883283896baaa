// The balloon device (virtio 1.2 §5.5): memory that the guest gives up while it is asked to
// (inflate), pages that it says are free (reporting), and what it tells of its memory (statistics).
// Pure, but for guest memory; giving pages back to the pool is the machine's business.
#pragma once

#include <string_view>
#include <vector>

#include "hyperkernel/guest_memory.h"
#include "vmm/effects.h"
#include "vmm/virtio/pci_transport.h"

namespace dvm::vmm {

inline constexpr u16 kBalloonQueues = 4;
// At least 32: Linux reports as many blocks at once.
inline constexpr u16 kBalloonQueueSize = 64;
// Of one chain, in pages: more of them stay where they are. Linux tells 256 at a time.
inline constexpr u32 kBalloonMaxFrames = 4096;
inline constexpr u64 kBalloonPageBytes = 4096;  // §5.5.6: whatever the guest's own page size is

namespace virtio {
// §5.5.3. Not offered: PAGE_POISON, so that a driver that needs freed pages to keep a pattern does
// not report them (Linux then gives REPORTING up); FREE_PAGE_HINT, which is for live migration.
inline constexpr u64 kBalloonFeatureStats = u64{1} << 1;
inline constexpr u64 kBalloonFeatureDeflateOnOom = u64{1} << 2;
inline constexpr u64 kBalloonFeatureReporting = u64{1} << 5;

// virtio_balloon_config (§5.5.4), up to what the features above use. In 4 KiB pages.
struct BalloonConfig {
  u32 num_pages;  // what the device asks for
  u32 actual;     // what the driver has given; it writes this
};
static_assert(sizeof(BalloonConfig) == 8);

// virtio_balloon_stat (§5.5.6.3).
struct [[gnu::packed]] BalloonStat {
  u16 tag;
  u64 value;
};
static_assert(sizeof(BalloonStat) == 10);
}  // namespace virtio

enum class BalloonQueue : u8 { none, inflate, deflate, stats, reporting };
// Queues are numbered without gaps among the features that were negotiated, as drivers do it
// (§5.5.2 as Linux and QEMU read it).
BalloonQueue balloon_queue(u16 queue, u64 features);
u16 balloon_stats_queue();

VirtioPciState make_virtio_balloon(u64 target_bytes);
// How much the driver is to give up: it is told.
void balloon_set_target(VirtioPciState& state, u64 bytes, Effects& effects);
u64 balloon_actual(const VirtioPciState& state);  // bytes that the driver says it has given up

// A run of guest memory, whole pages.
struct GuestRun {
  u64 gpa;
  u64 bytes;
  friend bool operator==(const GuestRun&, const GuestRun&) = default;
};
// The pages whose numbers an inflate or deflate chain holds: ascending, merged, each once. Numbers
// beyond kBalloonMaxFrames are passed over. May name what is no RAM.
Result<std::vector<GuestRun>> balloon_frames(const Chain& chain,
                                             const hyperkernel::GuestMemory& memory);
// The whole pages of a reporting chain's buffers.
std::vector<GuestRun> balloon_reported(const Chain& chain);

// The guest's statistics by tag, in bytes or events. What it never told, or no longer tells, is
// kBalloonNotTold.
inline constexpr u32 kBalloonStats = 10;
inline constexpr u64 kBalloonNotTold = ~u64{0};
std::string_view balloon_stat_name(u32 tag);  // "free_memory"
using BalloonStats = std::array<u64, kBalloonStats>;
// Those that a statistics chain holds; tags that have no name here are passed over.
Result<BalloonStats> balloon_stats(const Chain& chain, const hyperkernel::GuestMemory& memory);

}  // namespace dvm::vmm
