// The scheduler's own interrupts: threads moved between CPUs, and barriers forced on other CPUs.
#include <linux/membarrier.h>
#include <sys/syscall.h>

#include <memory>
#include <mutex>

#include "stress.h"

namespace stress {
namespace {

constexpr size_t kBufferSize = 16 << 10;

struct alignas(64) Passenger {
  std::atomic<pid_t> tid{0};
  std::atomic<uint64_t> turns{0};
  std::atomic<int> seen_on{-1};
};

std::vector<uint8_t> MakeBuffer(uint64_t seed) {
  guest::Rng rng(seed);
  std::vector<uint8_t> buffer(kBufferSize);
  for (uint8_t& byte : buffer) byte = static_cast<uint8_t>(rng.Next());
  return buffer;
}

// Moves itself.
void Wander(const Context& context, size_t me, Count& count) {
  guest::Rng rng(context.round * 13 + me);
  const std::vector<uint8_t> buffer = MakeBuffer(me);
  const uint64_t right = Fnv(buffer.data(), buffer.size());
  guest::Deadline deadline(context.seconds);
  while (!deadline.Passed()) {
    const int cpu = context.cpus[rng.Below(context.cpus.size())];
    if (!guest::Pin(cpu)) return context.verdict->Fail("migrations: cannot move to cpu %d", cpu);
    const int before = sched_getcpu();
    const bool same = Fnv(buffer.data(), buffer.size()) == right;
    const int after = sched_getcpu();
    if (before != cpu || after != cpu) {
      context.verdict->Fail("migrations: on cpu %d then %d, not %d", before, after, cpu);
    }
    if (!same) context.verdict->Fail("migrations: checksum changed on cpu %d", cpu);
    count.value++;
  }
}

// Is moved by a mover while it computes.
void Ride(const Context& context, size_t me, Passenger& passenger,
          const std::atomic<size_t>& movers) {
  const std::vector<uint8_t> buffer = MakeBuffer(me);
  const uint64_t right = Fnv(buffer.data(), buffer.size());
  passenger.tid.store(gettid());
  while (movers.load() != 0) {
    if (Fnv(buffer.data(), buffer.size()) != right) {
      context.verdict->Fail("migrations: passenger's checksum changed on cpu %d", sched_getcpu());
    }
    passenger.seen_on.store(sched_getcpu());
    passenger.turns.fetch_add(1);
  }
}

void MoveOther(const Context& context, size_t me, Passenger& passenger, Count& count) {
  guest::Rng rng(context.round * 17 + me);
  guest::Deadline deadline(context.seconds);
  guest::Backoff backoff;
  while (passenger.tid.load() == 0) backoff.Wait();
  while (!deadline.Passed()) {
    const int cpu = context.cpus[rng.Below(context.cpus.size())];
    if (!guest::Pin(cpu, passenger.tid.load())) {
      return context.verdict->Fail("migrations: cannot move a thread to cpu %d", cpu);
    }
    // The turn under way may have looked before the move; the one after it cannot have.
    const uint64_t turns = passenger.turns.load();
    while (passenger.turns.load() < turns + 2) sched_yield();
    if (passenger.seen_on.load() != cpu) {
      context.verdict->Fail("migrations: moved to cpu %d but seen on %d", cpu,
                            passenger.seen_on.load());
    }
    count.value++;
  }
}

// An asymmetric lock: the owner of a cell enters it without any fence, because whoever else wants
// to enter first forces a barrier on every CPU. If a barrier is missed, both get in, and the plain
// counter loses a step.
struct alignas(4096) Cell {
  std::atomic<int> owner_inside{0};
  alignas(64) uint64_t guarded = 0;
  alignas(64) uint64_t owner_steps = 0;
  uint64_t visitor_steps = 0;
};

struct Cells {
  explicit Cells(size_t n) : count(n), cell(std::make_unique<Cell[]>(n)) {}
  const size_t count;
  std::unique_ptr<Cell[]> cell;
  alignas(64) std::atomic<int> visitor_wants{0};
  std::mutex visitors;
};

long Membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0); }

void EnterOwn(Cells& cells, Cell& cell) {
  cell.owner_inside.store(1, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);  // the compiler's order only, on purpose
  if (cells.visitor_wants.load(std::memory_order_relaxed) == 0) {
    const uint64_t value = cell.guarded;
    guest::Pause();
    cell.guarded = value + 1;
    cell.owner_steps++;
  }
  cell.owner_inside.store(0, std::memory_order_release);
}

bool VisitAll(Cells& cells) {
  std::lock_guard<std::mutex> lock(cells.visitors);
  cells.visitor_wants.store(1);
  const bool works = Membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0;
  for (size_t i = 0; works && i < cells.count; i++) {
    Cell& cell = cells.cell[i];
    if (cell.owner_inside.load(std::memory_order_acquire) != 0) continue;
    const uint64_t value = cell.guarded;
    guest::Pause();
    cell.guarded = value + 1;
    cell.visitor_steps++;
  }
  cells.visitor_wants.store(0, std::memory_order_release);
  return works;
}

}  // namespace

uint64_t Fnv(const void* data, size_t size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
  return hash;
}

uint64_t Migrations(const Context& context) {
  const size_t n = context.cpus.size();
  std::vector<Count> counts(2 * n);
  auto passengers = std::make_unique<Passenger[]>(n);
  std::atomic<size_t> movers{n};
  guest::RunThreads(context.cpus, 3 * n, [&](size_t i) {
    if (i < n) {
      Wander(context, i, counts[i]);
    } else if (i < 2 * n) {
      MoveOther(context, i, passengers[i - n], counts[i]);
      movers.fetch_sub(1);
    } else {
      Ride(context, i, passengers[i - 2 * n], movers);
    }
  });
  return Sum(counts);
}

uint64_t Membarriers(const Context& context) {
  if (Membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) != 0) {
    printf("smp_stress: membarrier: not offered by this kernel, skipped\n");
    return 0;
  }
  Cells cells(context.cpus.size());
  std::vector<Count> barriers(cells.count);
  guest::RunThreads(context.cpus, cells.count, [&](size_t me) {
    guest::Rng rng(context.round * 7 + me);
    guest::Deadline deadline(context.seconds);
    while (!deadline.Passed()) {
      const size_t own = 1 + rng.Below(200);
      for (size_t i = 0; i < own; i++) EnterOwn(cells, cells.cell[me]);
      if (!VisitAll(cells)) return context.verdict->Fail("membarrier: call failed");
      barriers[me].value++;
    }
  });
  for (size_t i = 0; i < cells.count; i++) {
    const Cell& cell = cells.cell[i];
    if (cell.guarded != cell.owner_steps + cell.visitor_steps) {
      context.verdict->Fail("membarrier: cpu %d missed a barrier: %llu steps, not %llu",
                            context.cpus[i], static_cast<unsigned long long>(cell.guarded),
                            static_cast<unsigned long long>(cell.owner_steps + cell.visitor_steps));
    }
  }
  return Sum(barriers);
}

}  // namespace stress
