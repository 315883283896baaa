#include "vmm/disk_warmer.h"

#include <algorithm>
#include <chrono>

#include "fabric/claim.h"

namespace dvm::vmm {
namespace {

constexpr std::chrono::milliseconds kNap{1}, kFullNap{50};
// The guest waits for its disk all the while: one request may go in between.
constexpr u64 kMostCalmNs = 10'000'000;
// No frame came free for so long: the guest does not come for what they hold any more.
constexpr u64 kQuietNs = 30'000'000'000;

}  // namespace

void DiskWarmer::stop() {
  stopping_.store(true);
  if (thread_.joinable()) thread_.join();
  stopping_.store(false);
}

void DiskWarmer::look(fabric::Peer* peer) {
  srt::ReplicaTable* const table = machine_.replicas();
  if (table == nullptr || disks_.empty() || table->warmed().load() >= table->wanted().size())
    return;
  if (!fabric::claim(table->warmer(), machine_.self(), machine_.instances())) return;
  if (thread_.joinable()) thread_.join();
  thread_ = std::thread([this, peer] {
    const auto life = peer != nullptr ? peer->register_thread()
                                      : Result<std::unique_ptr<fabric::LifeRegistration>>(nullptr);
    if (life.ok()) warm();
    fabric::disclaim(machine_.replicas()->warmer());
  });
}

bool DiskWarmer::ends() const {
  return stopping_.load() || gave_up_ || machine_.state().control.phase.load() == Phase::stopped;
}

void DiskWarmer::warm() {
  srt::ReplicaTable& table = *machine_.replicas();
  const auto wanted = table.wanted();
  Prefetches prefetches;
  gave_up_ = false;
  for (u32 next = table.warmed().load(); next < wanted.size() && !ends(); ++next) {
    read(wanted[next], prefetches);
    if (!stopping_.load()) table.warmed().store(next + 1);
  }
  prefetches.clear();  // waits for what is in flight
  if (gave_up_) table.warmed().store(static_cast<u32>(wanted.size()));
}

// Of what stands in the pool nothing is believed: the run is of a disk that there is, and in it.
NodeDisk* DiskWarmer::disk_of(const srt::BlockRun& run) const {
  const auto disk =
      std::ranges::find_if(disks_, [&](const auto& d) { return d->function() == run.disk; });
  if (disk == disks_.end()) return nullptr;
  const u64 blocks = machine_.state().functions[run.disk].capacity.load() / srt::kBlockBytes;
  return run.first < blocks && run.blocks <= blocks - run.first ? disk->get() : nullptr;
}

void DiskWarmer::wait_for_calm(const NodeDisk& disk) const {
  const u64 until = fabric::monotonic_ns() + kMostCalmNs;
  while (disk.server().in_flight() != 0 && !ends() && fabric::monotonic_ns() < until)
    std::this_thread::sleep_for(kNap);
}

void DiskWarmer::read(srt::BlockRun run, Prefetches& prefetches) {
  NodeDisk* const disk = disk_of(run);
  if (disk == nullptr) return;
  auto& prefetch = prefetches[run.disk];
  if (!prefetch) {
    auto opened = disk->prefetch();
    if (!opened.ok()) {
      fmt::print(stderr, "dvm-node: nothing is read ahead: {}\n", opened.error().message);
      gave_up_ = true;
      return;
    }
    prefetch = opened.take();
  }
  u64 moved_ns = fabric::monotonic_ns();
  while (run.blocks != 0 && !ends()) {
    wait_for_calm(*disk);
    const u32 seen_to = prefetch->read(run);
    run.first += seen_to;
    run.blocks -= seen_to;
    const u64 now = fabric::monotonic_ns();
    if (seen_to != 0) {
      moved_ns = now;
    } else if (now - moved_ns > kQuietNs) {
      gave_up_ = true;
    } else {
      std::this_thread::sleep_for(kFullNap);
    }
  }
}

}  // namespace dvm::vmm
