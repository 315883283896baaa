// Locked instructions on shared words with exact totals, and locks that guard plain data.
#include <memory>

#include "stress.h"

namespace stress {
namespace {

constexpr size_t kBits = 512;

// Each group of words has its own page, so that pages travel independently of one another.
struct alignas(4096) Shared {
  std::atomic<uint64_t> added{0};
  alignas(64) std::atomic<uint64_t> compared{0};
  alignas(4096) std::atomic<uint64_t> exchanged{0};
  alignas(4096) uint64_t bits[kBits / 64] = {};
  alignas(4096) uint64_t guarded_by_bit[kBits] = {};
  alignas(4096) char split[8192] = {};
};

bool BitTestAndSet(uint64_t* words, uint64_t bit) {
  bool was;
  asm volatile("lock btsq %2, %1" : "=@ccc"(was), "+m"(words[bit / 64]) : "r"(bit % 64) : "memory");
  return was;
}

bool BitTestAndReset(uint64_t* words, uint64_t bit) {
  bool was;
  asm volatile("lock btrq %2, %1" : "=@ccc"(was), "+m"(words[bit / 64]) : "r"(bit % 64) : "memory");
  return was;
}

struct alignas(64) Tally {
  uint64_t added = 0;
  uint64_t compared = 0;
  uint64_t token = 0;  // what this thread took out of `exchanged`
  uint64_t claimed = 0;
  uint64_t split = 0;
  uint64_t operations = 0;
};

void ClaimBit(Shared& shared, guest::Rng& rng, Tally& tally, guest::Verdict& verdict) {
  const uint64_t bit = rng.Below(kBits);
  if (BitTestAndSet(shared.bits, bit)) return;
  shared.guarded_by_bit[bit]++;
  tally.claimed++;
  if (!BitTestAndReset(shared.bits, bit)) verdict.Fail("atomics: a bit we set was clear");
}

void Work(Shared& shared, size_t me, const Context& context, Tally& tally) {
  guest::Rng rng(context.round * 1000 + me);
  guest::Deadline deadline(context.seconds);
  tally.token = me + 1;
  // A 8-byte word across the boundary of two pages: both must be there at once.
  auto* split = reinterpret_cast<uint64_t*>(shared.split + 4096 - 4);
  while (!deadline.Passed()) {
    for (int i = 0; i < 64; i++) {
      const uint64_t amount = rng.Next() & 0xff;
      shared.added.fetch_add(amount);
      tally.added += amount;
      uint64_t seen = shared.compared.load();
      while (!shared.compared.compare_exchange_weak(seen, seen + 3)) guest::Pause();
      tally.compared += 3;
      tally.token = shared.exchanged.exchange(tally.token);
      ClaimBit(shared, rng, tally, *context.verdict);
      tally.operations += 4;
    }
    if (context.split_locks) {
      asm volatile("lock incq %0" : "+m"(*split) : : "memory");
      tally.split++;
    }
  }
}

void CheckTotals(Shared& shared, const std::vector<Tally>& tallies, guest::Verdict& verdict) {
  Tally sum;
  uint64_t tokens_put_in = 0;
  sum.token = shared.exchanged.load();
  for (size_t i = 0; i < tallies.size(); i++) {
    sum.added += tallies[i].added;
    sum.compared += tallies[i].compared;
    sum.token += tallies[i].token;
    sum.claimed += tallies[i].claimed;
    sum.split += tallies[i].split;
    tokens_put_in += i + 1;
  }
  uint64_t guarded = 0;
  for (uint64_t value : shared.guarded_by_bit) guarded += value;
  uint64_t split = 0;
  memcpy(&split, shared.split + 4096 - 4, sizeof split);
  auto expect = [&](const char* what, uint64_t got, uint64_t want) {
    if (got != want) {
      verdict.Fail("atomics: %s is %llu, not %llu", what, static_cast<unsigned long long>(got),
                   static_cast<unsigned long long>(want));
    }
  };
  expect("fetch_add total", shared.added.load(), sum.added);
  expect("cmpxchg total", shared.compared.load(), sum.compared);
  expect("xchg token sum", sum.token, tokens_put_in);
  expect("bts-guarded total", guarded, sum.claimed);
  expect("split lock total", split, sum.split);
}

class TicketLock {
 public:
  void Lock() {
    const uint32_t mine = next_.fetch_add(1);
    guest::Backoff backoff;
    while (serving_.load(std::memory_order_acquire) != mine) backoff.Wait();
  }
  void Unlock() { serving_.store(serving_.load(std::memory_order_relaxed) + 1); }

 private:
  std::atomic<uint32_t> next_{0};
  alignas(64) std::atomic<uint32_t> serving_{0};
};

class SpinMutex {
 public:
  void Lock() {
    guest::Backoff backoff;
    while (taken_.exchange(1, std::memory_order_acquire) != 0) backoff.Wait();
  }
  void Unlock() { taken_.store(0, std::memory_order_release); }

 private:
  std::atomic<uint32_t> taken_{0};
};

// Plain words on three pages; whoever holds the lock must find them in agreement.
struct Guarded {
  alignas(4096) uint64_t a = 0;
  alignas(4096) uint64_t b = 0;
  alignas(4096) uint64_t a_xor_b = 0;
  alignas(4096) uint64_t steps = 0;
};

template <typename Lock>
uint64_t HoldLock(const Context& context, const char* name) {
  auto guarded = std::make_unique<Guarded>();
  auto lock = std::make_unique<Lock>();
  std::vector<Count> counts(context.cpus.size());
  guest::RunThreads(context.cpus, counts.size(), [&](size_t me) {
    guest::Rng rng(context.round * 77 + me);
    guest::Deadline deadline(context.seconds / 2);
    while (!deadline.Passed()) {
      lock->Lock();
      if ((guarded->a ^ guarded->b) != guarded->a_xor_b) {
        context.verdict->Fail("locks: %s: invariant broken on cpu %d", name, sched_getcpu());
      }
      guarded->a += rng.Next();
      guarded->b ^= rng.Next();
      guarded->a_xor_b = guarded->a ^ guarded->b;
      guarded->steps++;
      lock->Unlock();
      counts[me].value++;
    }
  });
  if (Sum(counts) != guarded->steps) {
    context.verdict->Fail("locks: %s: %llu steps, not %llu", name,
                          static_cast<unsigned long long>(guarded->steps),
                          static_cast<unsigned long long>(Sum(counts)));
  }
  return Sum(counts);
}

}  // namespace

uint64_t Atomics(const Context& context) {
  auto shared = std::make_unique<Shared>();
  std::vector<Tally> tallies(context.cpus.size());
  guest::RunThreads(context.cpus, tallies.size(),
                    [&](size_t me) { Work(*shared, me, context, tallies[me]); });
  CheckTotals(*shared, tallies, *context.verdict);
  uint64_t operations = 0;
  for (const Tally& tally : tallies) operations += tally.operations + tally.split;
  return operations;
}

uint64_t Locks(const Context& context) {
  return HoldLock<TicketLock>(context, "ticket lock") +
         HoldLock<SpinMutex>(context, "spin-then-yield mutex");
}

}  // namespace stress
