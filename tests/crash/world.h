// What the crash harness kills processes over: a pool with locks, an allocator, control groups with
// their failures, and an event log, and beside each of them what it takes to tell whether it was
// broken.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "fabric/block_cache.h"
#include "fabric/event_log.h"
#include "fabric/fabric_state.h"
#include "fabric/frame_allocator.h"
#include "fabric/queue_lock.h"
#include "tests/crash/group_observer.h"

namespace dvm::crash {

inline constexpr u64 kFrames = 256;
inline constexpr u64 kObjectBytes = 64 * kKiB;
inline constexpr u64 kWords = 96;  // that blocks are published in
inline constexpr u32 kGroups = 2;  // that the survivor is a member of; workers come and go
inline constexpr u32 kFreshGroup = kGroups;  // nobody is in it, nor ever was

// What is killed in, as the summary counts it.
enum class Part : u32 { locks, allocator, groups, failures, log };
inline constexpr std::array<std::string_view, 5> kPartNames = {"locks", "allocator", "groups",
                                                               "failures", "log"};

// State that is consistent when a == b == the sum of the ledger, and that a death in the middle of
// a section leaves otherwise. `inside` names who is in the section.
struct Guarded {
  std::atomic<u64> inside;
  std::atomic<u64> a, b;
  std::array<std::atomic<u64>, fabric::kMaxInstances> ledger;
};

// What a worker was last doing to its membership: so much the others must know of its death.
enum class Intent : u32 { none, joining, joined, leaving, left };

// One for each stable id, written by its worker alone: {generation, Intent}, and whether its own
// routine is to run.
struct GroupIntent {
  std::atomic<u64> word;
  static constexpr u64 pack(fabric::InstanceId who, Intent intent) {
    return (static_cast<u64>(who.generation) << 32) | static_cast<u32>(intent);
  }
};

// Of the recovery of one stable id's failures: who is at it, and whom each routine last ran for.
struct Burial {
  std::atomic<u64> runner;
  std::array<std::atomic<u64>, 3> ran_for;
};

struct alignas(64) Progress {
  std::atomic<u32> part;  // what it is doing
  std::array<std::atomic<u64>, kPartNames.size()> operations;
};

struct Record {
  alignas(64) fabric::PoolLock word_lock;
  Guarded under_word;
  fabric::QueueLock queue_lock;
  Guarded under_queue;
  std::array<std::atomic<u64>, kWords> words;           // offsets of published blocks, or 0
  std::array<std::atomic<u64>, kFrames> frame_holders;  // who holds the frame, or 0
  std::array<std::array<GroupIntent, fabric::kMaxInstances>, kGroups + 1> intents;
  std::array<Burial, fabric::kMaxInstances> burials;
  std::array<Progress, fabric::kMaxInstances> progress;
  std::atomic<u32> violated;
  std::array<char, 252> violation;  // the first one seen by a worker
};

// Mistakes that the harness must catch: made in what is tested here, not in what is shipped.
enum class Mistake {
  none,
  unlock_before_publish,  // the section's last store comes after the release
  no_mend,                // a section taken over from the dead is not mended
  free_without_log,       // a block is taken out of its word and freed by two plain steps
  free_while_named,       // a block is freed and its word still names it
  publish_without_log,    // a block is named, then marked used
  never_release,          // now and then a lock is kept
  skip_announcement,      // now and then the groups are not told of a death
  leave_without_journal,  // a member leaves by plain stores
  recover_unclaimed,      // a failure is recovered by whoever comes along
};
// By its name with '-' for '_'. False: no such mistake.
bool mistake_by_name(const std::string& name, Mistake& mistake);

class World {
 public:
  static Result<std::unique_ptr<World>> make();

  fabric::InstanceTable& instances() { return *instances_; }
  fabric::EventLog& log() { return *log_; }
  fabric::FabricState& fabric() { return *fabric_; }
  fabric::FrameAllocator& allocator() { return *allocator_; }
  Record& record() { return *record_; }
  std::span<std::byte> image() const { return image_; }  // all metadata, for saving and restoring
  u64 word_offset(u64 index) const { return words_offset_ + 8 * index; }
  std::atomic<u64>& holder_of(u64 block);

  void complain(const std::string& what);  // async processes: the first one stays

  // The harness itself joins the groups, and from then on sees all that is announced there.
  using Observers = std::vector<GroupObserver>;
  void observe_as(fabric::InstanceId survivor);
  Observers& observers() { return observers_; }

  // `who` is known to be stopped: as the manager does it, up to where the others take over.
  void fence(fabric::InstanceId who);
  bool is_over(u32 id) const;  // its last failure, if there was one
  // The former life of `id` is over: whether the groups were told what they had to be told.
  void check_burial(u32 id, std::vector<std::string>& found);
  // All workers are gone: fences, announces and recovers every instance but `survivor`, takes every
  // lock once and looks at everything. Empty: all is well.
  std::vector<std::string> settle_and_check(fabric::InstanceId survivor);

 private:
  void check_guarded(const char* name, const Guarded& g, std::vector<std::string>& found) const;
  void check_blocks(std::vector<std::string>& found);
  void check_log(std::vector<std::string>& found);
  void check_groups(std::vector<std::string>& found);
  void check_heard(u32 group, std::vector<std::string>& found);
  void settle(class Worker& mender, fabric::InstanceId survivor, std::vector<std::string>& found);

  fabric::Pool pool_;
  std::optional<fabric::FrameAllocator> allocator_;
  fabric::InstanceTable* instances_ = nullptr;
  fabric::EventLog* log_ = nullptr;
  fabric::FabricState* fabric_ = nullptr;
  Observers observers_;
  Record* record_ = nullptr;
  std::span<std::byte> image_;
  u64 words_offset_ = 0;
};

// The mixing step of splitmix64: a stream of random numbers from any start.
constexpr u64 next_random(u64& state) {
  u64 z = (state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

}  // namespace dvm::crash
