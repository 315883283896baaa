// What the crash harness kills processes over: a pool with locks, an allocator and an event log,
// and beside each of them what it takes to tell whether it was broken.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "fabric/block_cache.h"
#include "fabric/event_log.h"
#include "fabric/frame_allocator.h"
#include "fabric/queue_lock.h"

namespace dvm::crash {

inline constexpr u64 kFrames = 256;
inline constexpr u64 kObjectBytes = 64 * kKiB;
inline constexpr u64 kWords = 96;  // that blocks are published in

// State that is consistent when a == b == the sum of the ledger, and that a death in the middle of
// a section leaves otherwise. `inside` names who is in the section.
struct Guarded {
  std::atomic<u64> inside;
  std::atomic<u64> a, b;
  std::array<std::atomic<u64>, fabric::kMaxInstances> ledger;
};

struct Record {
  alignas(64) fabric::PoolLock word_lock;
  Guarded under_word;
  fabric::QueueLock queue_lock;
  Guarded under_queue;
  std::array<std::atomic<u64>, kWords> words;           // offsets of published blocks, or 0
  std::array<std::atomic<u64>, kFrames> frame_holders;  // who holds the frame, or 0
  std::array<std::atomic<u64>, fabric::kMaxInstances> operations;  // done, by stable id
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
};
// By its name with '-' for '_'. False: no such mistake.
bool mistake_by_name(const std::string& name, Mistake& mistake);

class World {
 public:
  static Result<std::unique_ptr<World>> make();

  fabric::InstanceTable& instances() { return *instances_; }
  fabric::EventLog& log() { return *log_; }
  fabric::FrameAllocator& allocator() { return *allocator_; }
  Record& record() { return *record_; }
  std::span<std::byte> image() const { return image_; }  // all metadata, for saving and restoring
  u64 word_offset(u64 index) const { return words_offset_ + 8 * index; }
  std::atomic<u64>& holder_of(u64 block);

  void complain(const std::string& what);  // async processes: the first one stays
  // All workers are gone: retires and recovers every instance but `survivor`, takes every lock once
  // and looks at everything. Empty: all is well.
  std::vector<std::string> settle_and_check(fabric::InstanceId survivor);

 private:
  void check_guarded(const char* name, const Guarded& g, std::vector<std::string>& found) const;
  void check_blocks(std::vector<std::string>& found);
  void check_log(std::vector<std::string>& found);

  fabric::Pool pool_;
  std::optional<fabric::FrameAllocator> allocator_;
  fabric::InstanceTable* instances_ = nullptr;
  fabric::EventLog* log_ = nullptr;
  Record* record_ = nullptr;
  std::span<std::byte> image_;
  u64 words_offset_ = 0;
};

// The operations, as one instance does them.
class Worker {
 public:
  Worker(World& world, fabric::InstanceId self, Mistake mistake)
      : world_(world), self_(self), mistake_(mistake) {}

  Status attach();  // to the allocator
  void word_section();
  void queue_section();
  void append();
  void allocate_and_free(u64 random);
  void publish(u64 random);
  void retire(u64 index);
  void change_word(u64 random);  // publishes in a word that is empty, retires from one that is not
  void recover_someone(u64 random);

 private:
  void section(Guarded& g, const fabric::LockResult& result, auto&& release);
  u64 allocate(u64 random);

  World& world_;
  fabric::InstanceId self_;
  Mistake mistake_;
  std::unique_ptr<fabric::BlockCache> cache_;
  u64 appended_ = 0;
};

// The mixing step of splitmix64: a stream of random numbers from any start.
constexpr u64 next_random(u64& state) {
  u64 z = (state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

}  // namespace dvm::crash
