// The replica table beside a plain disk: random sequences of reads, writes, changes of memory,
// discards, resets, deaths, reads ahead of the guest, with what is in flight landing in any order.
// Every byte that a read gives is one that a plain disk could have given; while a write is in
// flight, what was there before it and what it brings are both possible, in any order, as with a
// mirrored disk.
//   DVM_SEED: the first of the seeds; DVM_ROUNDS: how many sequences
#include <cstdlib>

#include "tests/property/replica_world.h"
#include "tests/sanitized.h"

namespace dvm::srt {
namespace {

using model::World;

u64 number_from(const char* name, u64 otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

#ifdef DVM_WITH_TSAN
constexpr u64 kRounds = 500;  // of one thread: there is little to be seen
#else
constexpr u64 kRounds = 10'000;
#endif

TEST(ReplicaModel, EveryReadIsWhatAPlainDiskGives) {
  const u64 first = number_from("DVM_SEED", 1), rounds = number_from("DVM_ROUNDS", kRounds);
  u64 served = 0, changed = 0, written = 0, freed = 0, put_ahead = 0, used_ahead = 0;
  for (u64 seed = first; seed < first + rounds; ++seed) {
    SCOPED_TRACE(fmt::format("DVM_SEED={} DVM_ROUNDS=1", seed));
    World world(seed, seed % 2 == 0 ? 64 * kKiB : 2 * kMiB);
    for (u32 i = 0; i < 60 && !HasFatalFailure(); ++i) world.step();
    world.end();
    ASSERT_FALSE(HasFailure());
    served += world.served();
    changed += world.dropped(Dropped::changed);
    freed += world.freed_kept();
    written += world.dropped(Dropped::written);
    put_ahead += world.put_ahead();
    used_ahead += world.used_ahead();
  }
  EXPECT_GT(served, rounds);
  EXPECT_GT(changed, rounds / 10);
  EXPECT_GT(written, rounds / 10);
  EXPECT_GT(freed, rounds / 20);
  EXPECT_GT(put_ahead, rounds);
  EXPECT_GT(used_ahead, rounds / 2);
}

}  // namespace
}  // namespace dvm::srt
