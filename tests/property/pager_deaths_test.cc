// Nodes in processes of their own, killed and hung at any moment while they move pages.
#include <sys/mman.h>
#include <sys/wait.h>

#include <csignal>
#include <random>

#include "tests/unit/pager_fixture.h"

namespace dvm::hyperkernel {
namespace {

constexpr u64 kPages = 640;  // more than the least local memory
constexpr u32 kVictim = 1;

// What a node has surely written, in memory that no node owns.
struct Progress {
  std::atomic<u64> started;
  std::array<std::array<std::atomic<u64>, kPages>, 2> written;
};

Progress* make_progress() {
  void* p =
      ::mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return new (p) Progress();
}

// Writes rising numbers into its own word of random pages, and reads the other's.
void work(Pager& node, u32 slot, Progress& progress, u64 seed, const std::atomic<bool>* over) {
  std::mt19937_64 random(seed);
  std::array<u64, kPages> seen{};
  progress.started.fetch_add(1);
  for (u64 i = 1; over == nullptr || !over->load(); ++i) {
    const u64 page = random() % 3 == 0 ? random() % 8 : random() % kPages;
    const u64 now = progress.written[slot][page].load() + 1;
    const u64 other = progress.written[1 - slot][page].load();
    const u64 found = word(node, page, 1 - slot).load();
    if (found < other || found < seen[page]) std::abort();  // an old content
    seen[page] = found;
    if (word(node, page, slot).exchange(now) > now) std::abort();
    progress.written[slot][page].store(now);
  }
}

pid_t fork_node(PagedPool& world, const std::function<void(Pager&)>& body, PagerOptions options) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  auto pager = world.node(kVictim, options);
  body(*pager);
  ::_exit(0);
}

void end_of(pid_t pid) {
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

u32 rounds() {
  const char* said = std::getenv("DVM_ROUNDS");
  return said != nullptr ? static_cast<u32>(std::strtoul(said, nullptr, 10)) : 40;
}

TEST(PagerDeaths, AnInstantOfDeathLosesNothingThatWasWritten) {
  DVM_NEEDS_USERFAULTFD();
  PagedPool world(kPages, 16);
  const PagerOptions options{.local_pages = kMinLocalPages, .shards = 2};
  auto survivor = world.node(0, options);
  Progress& progress = *make_progress();
  std::atomic<bool> over{false};
  std::thread worker([&] { work(*survivor, 0, progress, 1, &over); });
  std::mt19937 random(17);
  for (u32 round = 0; round < rounds(); ++round) {
    const u64 started = progress.started.load();
    const pid_t pid = fork_node(
        world, [&](Pager& node) { work(node, 1, progress, round + 2, nullptr); }, options);
    while (progress.started.load() == started) ::usleep(200);
    ::usleep(static_cast<useconds_t>(random() % 6000));
    end_of(pid);
    world.instances->retire({kVictim, world.instances->slots[kVictim].generation.load()},
                            fabric::InstanceState::dead);
    ASSERT_TRUE(survivor->recover(kVictim).ok());
    for (u64 page = 0; page < kPages; ++page) {
      ASSERT_EQ(world.entry(page).nodes & only(kVictim), 0);
      // The dead one may have written one more than it told.
      const u64 told = progress.written[1][page].load(), found = word(*survivor, page, 1).load();
      ASSERT_TRUE(found == told || found == told + 1) << "page " << page << " round " << round;
      progress.written[1][page].store(found);
    }
  }
  over.store(true);
  worker.join();
  EXPECT_GT(world.coherence().node(0).counters.taken.load(), 100u);
  EXPECT_EQ(world.coherence().node(0).counters.lost.load(), 0u);
  EXPECT_LE(world.coherence().frames_in_use(), 16u);
}

// A hung node holds nobody up: neither with copies, nor as the owner, nor while it rests.
TEST(PagerDeaths, AHungNodeIsNotWaitedFor) {
  DVM_NEEDS_USERFAULTFD();
  PagedPool world(kPages, 0);
  auto survivor = world.node(0);
  for (u64 page = 0; page < 64; ++page) word(*survivor, page).store(page);
  Progress& progress = *make_progress();
  const pid_t pid = fork_node(world,
                              [&](Pager& node) {
                                for (u64 page = 0; page < 64; ++page) (void)word(node, page).load();
                                for (u64 page = 64; page < 128; ++page)
                                  word(node, page).store(page);
                                for (u64 page = 0; page < 128; ++page) (void)world.entry(page);
                                progress.started.store(1);
                                for (;;) ::pause();
                              },
                              {});
  while (progress.started.load() == 0) ::usleep(200);
  ::kill(pid, SIGSTOP);
  const u64 from = fabric::monotonic_ns();
  for (u64 page = 0; page < 64; ++page) word(*survivor, page).store(page + 1);
  for (u64 page = 64; page < 128; ++page) EXPECT_EQ(word(*survivor, page).fetch_add(1), page);
  EXPECT_LT(fabric::monotonic_ns() - from, 2'000'000'000u);
  end_of(pid);
}

}  // namespace
}  // namespace dvm::hyperkernel
