// Processes use one replica table and are killed at any moment, most often within one of its steps:
// what a writer had in hand is done again by another, and then every entry is what the disk holds.
//   DVM_SEED: the random numbers; DVM_ROUNDS: how many are killed
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <random>

#include "srt/replica_table.h"

namespace dvm::srt {
namespace {

using fabric::RegionKind;

constexpr u64 kBlocks = 700;  // of few buckets, so that some are displaced
constexpr u32 kWorkers = 3;
constexpr u16 kDisk = 1;

u64 number_from(const char* name, u64 otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// In memory that all processes share.
struct Shared {
  fabric::InstanceTable instances;
  std::array<std::atomic<u64>, kBlocks> disk;      // what a block holds: a number
  std::array<std::atomic<u64>, kWorkers> in_hand;  // the block that it writes, plus one
  std::atomic<u64> last_number;
};

// An entry tells by itself what it says of which block.
Replica replica_of(u64 block, u64 number) {
  return {{ReplicaPlace::Kind::ram, static_cast<u16>(number), block * kPageBytes},
          {number, block * 1000 + number}};
}

class Worker {
 public:
  Worker(const fabric::Pool& pool, Shared& shared, u32 index)
      : shared_(shared),
        index_(index),
        table_(
            ReplicaTable::of(pool, shared.instances.join(1 + index, ::getpid()), shared.instances)
                .take()) {}

  void write(u64 block) {
    shared_.in_hand[index_].store(block + 1);
    const BlockKey key{kDisk, block};
    const u64 begun = table_.write_begins(key, Dropped::written);
    const u64 number = shared_.last_number.fetch_add(1) + 1;
    shared_.disk[block].store(number);
    table_.write_ends(key, replica_of(block, number), begun, 1);
    shared_.in_hand[index_].store(0);
  }
  void read(u64 block) {
    const BlockKey key{kDisk, block};
    const u64 writes = table_.writes(key);
    table_.put(key, replica_of(block, shared_.disk[block].load()), writes, 1);
  }
  [[noreturn]] void work(u64 seed) {
    std::mt19937_64 random(seed);
    for (;;) {
      const u64 block = random() % kBlocks;
      switch (random() % 8) {
        case 0: write(block); break;
        case 1: table_.use({kDisk, block}, 1); break;
        case 2:
          if (const auto found = table_.find({kDisk, block}); found && random() % 16 == 0)
            table_.drop({kDisk, block}, *found, Dropped::changed);
          break;
        default: read(block);
      }
    }
  }
  const ReplicaTable& table() const { return table_; }

 private:
  Shared& shared_;
  const u32 index_;
  ReplicaTable table_;
};

class Workers {
 public:
  Workers() {
    const ReplicaSize size{.buckets = 32, .kept_frames = 0, .budget = 0};
    fabric::PoolSpec spec{
        .name = "replicas",
        .metadata = {{RegionKind::replicas, kReplicasVersion, size.region_bytes()}},
        .frames_bytes = kPageBytes};
    pool_ = fabric::Pool::create(spec).take();
    EXPECT_TRUE(ReplicaTable::format(pool_, size, 0).ok());
    void* p =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(p, MAP_FAILED);
    shared_ = std::construct_at(static_cast<Shared*>(p));
  }
  ~Workers() { ::munmap(shared_, sizeof(Shared)); }

  void start(u32 index, u64 seed) {
    pids_[index] = ::fork();
    if (pids_[index] == 0) Worker(pool_, *shared_, index).work(seed);
  }
  void kill(u32 index) {
    ::kill(pids_[index], SIGKILL);
    ::waitpid(pids_[index], nullptr, 0);
    const u32 id = 1 + index;
    shared_->instances.retire({id, shared_->instances.slots[id].generation.load()},
                              fabric::InstanceState::dead);
  }
  // What that one had in hand, as its successor does it.
  void do_again(u32 index) {
    const u64 block = shared_->in_hand[index].exchange(0);
    if (block != 0) Worker(pool_, *shared_, kWorkers).write(block - 1);
  }
  void check() {
    u64 entries = 0;
    Worker(pool_, *shared_, kWorkers).table().each([&](const ReplicaTable::Listed& listed) {
      ++entries;
      const u64 block = listed.key.block;
      ASSERT_EQ(listed.replica, replica_of(block, shared_->disk[block].load()))
          << "block " << block;
    });
    EXPECT_GT(entries, kBlocks / 4);
  }

 private:
  fabric::Pool pool_;
  Shared* shared_ = nullptr;
  std::array<pid_t, kWorkers> pids_{};
};

TEST(ReplicaDeaths, EveryEntryIsWhatTheDiskHolds) {
  const u64 seed = number_from("DVM_SEED", 1), rounds = number_from("DVM_ROUNDS", 150);
  std::mt19937_64 random(seed);
  Workers workers;
  for (u32 i = 0; i < kWorkers; ++i) workers.start(i, random());
  for (u64 round = 0; round < rounds; ++round) {
    ::usleep(static_cast<useconds_t>(random() % 4000));
    const u32 dies = static_cast<u32>(random() % kWorkers);
    workers.kill(dies);
    if (round % 8 == 7) {  // all stop: then nothing is in hand but what is done again
      for (u32 i = 0; i < kWorkers; ++i)
        if (i != dies) workers.kill(i);
      for (u32 i = 0; i < kWorkers; ++i) workers.do_again(i);
      workers.check();
      ASSERT_FALSE(::testing::Test::HasFatalFailure()) << "DVM_SEED=" << seed;
      for (u32 i = 0; i < kWorkers; ++i)
        if (i != dies) workers.start(i, random());
    } else {
      workers.do_again(dies);
    }
    workers.start(dies, random());
  }
  for (u32 i = 0; i < kWorkers; ++i) workers.kill(i);
}

}  // namespace
}  // namespace dvm::srt
