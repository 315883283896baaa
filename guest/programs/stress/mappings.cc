// TLB shootdown: after a mapping has changed, no other CPU may still use the old one.
//
// The thread on one CPU (the changer, another one each round) changes a page's mapping; all others
// use the page all the time. Users that trap wait in the signal handler until it is open again.
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <memory>

#include "stress.h"

namespace stress {
namespace {

constexpr size_t kPage = 4096;
constexpr uint64_t kFrames = 64;  // an old frame must keep its old content for a while

// The page under test, and whether users may use it. The handler reads both.
std::atomic<uint64_t*> page{nullptr};
std::atomic<uint64_t> phase{0};  // even: open, odd: closed

struct alignas(64) User {
  std::atomic<uint64_t> trapped_in{0};  // the last closed phase in which it trapped
};
thread_local User* my_user = nullptr;

void OnTrap(int, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  const auto begin = reinterpret_cast<uintptr_t>(page.load());
  if (my_user == nullptr || address < begin || address >= begin + kPage) {
    char text[96];
    int size = snprintf(text, sizeof text, "smp_stress: FAIL signal %d at address %p\n",
                        info->si_signo, info->si_addr);
    if (write(1, text, static_cast<size_t>(size)) < 0) _exit(2);
    _exit(1);
  }
  guest::Backoff backoff;
  uint64_t now;
  while (((now = phase.load()) & 1) != 0) {
    my_user->trapped_in.store(now);
    backoff.Wait();
  }
}

void InstallTrap() {
  struct sigaction action {};
  action.sa_flags = SA_SIGINFO;
  action.sa_sigaction = OnTrap;
  sigaction(SIGSEGV, &action, nullptr);
  sigaction(SIGBUS, &action, nullptr);
}

uint64_t* Map(void* at, int protection, int flags, int fd = -1, off_t offset = 0) {
  void* mapped = mmap(at, kPage, protection, flags, fd, offset);
  if (mapped == MAP_FAILED) {
    perror("smp_stress: mmap");
    exit(2);
  }
  return static_cast<uint64_t*>(mapped);
}

constexpr int kReadWrite = PROT_READ | PROT_WRITE;
constexpr int kAnonymous = MAP_PRIVATE | MAP_ANONYMOUS;

void Fill(uint64_t* at, uint64_t value) {
  for (size_t i = 0; i < kPage / 8; i++) at[i] = value;
}

uint64_t Load(const uint64_t* at) { return *static_cast<const volatile uint64_t*>(at); }

// Runs change() on one CPU until time is up, and use(user, index) on all others meanwhile.
template <typename Change, typename Use>
uint64_t ChangeAndUse(const Context& context, Change change, Use use) {
  const size_t n = std::max<size_t>(2, context.cpus.size());
  const size_t changer = context.round % n;
  auto users = std::make_unique<User[]>(n);
  std::atomic<bool> done{false};
  uint64_t changes = 0;
  guest::RunThreads(context.cpus, n, [&](size_t me) {
    if (me == changer) {
      guest::Deadline deadline(context.seconds);
      while (!deadline.Passed()) {
        change(users.get(), n, changer);
        changes++;
      }
      done.store(true);
    } else {
      my_user = &users[me];
      while (!done.load()) use(me);
      my_user = nullptr;
    }
  });
  return changes;
}

// Waits until every user has run into the closed page; a user that never traps holds an old TLB
// entry (or gets no CPU time, hence a limit that is not a failure by itself).
void AwaitTraps(const User* users, size_t n, size_t changer, uint64_t closed) {
  guest::Deadline limit(0.1);
  guest::Backoff backoff;
  for (size_t i = 0; i < n; i++) {
    while (i != changer && users[i].trapped_in.load() != closed && !limit.Passed()) backoff.Wait();
  }
}

// Puts a page with content `generation` where the target is, in one of three ways. The third drops
// the content instead: the next reader must see zeroes or something newer.
void Replace(uint64_t* target, int frames, uint64_t generation) {
  switch (generation % 3) {
    case 0: {
      const auto offset = static_cast<off_t>(generation % kFrames * kPage);
      uint64_t* frame = Map(nullptr, kReadWrite, MAP_SHARED, frames, offset);
      Fill(frame, generation);
      munmap(frame, kPage);
      Map(target, kReadWrite, MAP_SHARED | MAP_FIXED, frames, offset);
      break;
    }
    case 1: {
      uint64_t* fresh = Map(nullptr, kReadWrite, kAnonymous);
      Fill(fresh, generation);
      if (mremap(fresh, kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, target) == MAP_FAILED) {
        perror("smp_stress: mremap");
        exit(2);
      }
      break;
    }
    default:  // the target is anonymous: way 1 came just before
      madvise(target, kPage, MADV_DONTNEED);
  }
}

}  // namespace

uint64_t Remaps(const Context& context) {
  InstallTrap();
  const auto frames = static_cast<int>(syscall(SYS_memfd_create, "frames", 0));
  if (frames < 0 || ftruncate(frames, kFrames * kPage) != 0) {
    perror("smp_stress: memfd");
    exit(2);
  }
  uint64_t* target = Map(nullptr, kReadWrite, kAnonymous);
  page.store(target);
  alignas(64) std::atomic<uint64_t> generation{0};
  auto change = [&](const User*, size_t, size_t) {
    const uint64_t next = generation.load() + 1;
    Replace(target, frames, next);
    generation.store(next);
  };
  auto use = [&](size_t me) {
    const uint64_t complete = generation.load();
    const uint64_t value = Load(target + (me * 8) % (kPage / 8));
    // Zero is right while the content is dropped; that may begin at any time after way 1.
    const bool may_be_zero = complete % 3 != 0 || generation.load() != complete;
    if (value < complete && !(value == 0 && may_be_zero)) {
      context.verdict->Fail("remap: cpu %d read generation %llu after %llu was complete",
                            sched_getcpu(), static_cast<unsigned long long>(value),
                            static_cast<unsigned long long>(complete));
    }
  };
  const uint64_t changes = ChangeAndUse(context, change, use);
  munmap(target, kPage);
  close(frames);
  return changes;
}

uint64_t WriteProtection(const Context& context) {
  InstallTrap();
  uint64_t* target = Map(nullptr, kReadWrite, kAnonymous);
  page.store(target);
  phase.store(0);
  auto change = [&](const User* users, size_t n, size_t changer) {
    const uint64_t closed = phase.load() + 1;
    phase.store(closed);  // first: whoever traps from here on waits
    mprotect(target, kPage, PROT_READ);
    uint64_t before[kPage / 8];
    memcpy(before, target, kPage);
    AwaitTraps(users, n, changer, closed);
    if (memcmp(before, target, kPage) != 0) {
      context.verdict->Fail("mprotect: a page was written after it had become read-only");
    }
    mprotect(target, kPage, kReadWrite);
    phase.store(closed + 1);
    usleep(50);  // lets the users write, and so fill their TLBs
  };
  auto use = [&](size_t me) {
    auto* word = static_cast<volatile uint64_t*>(target + (me * 8) % (kPage / 8));
    *word = *word + 1;
  };
  const uint64_t changes = ChangeAndUse(context, change, use);
  munmap(target, kPage);
  return changes;
}

uint64_t Unmaps(const Context& context) {
  InstallTrap();
  uint64_t* target = Map(nullptr, kReadWrite, kAnonymous);
  page.store(target);
  phase.store(0);
  // 0: open. Otherwise the closed phase whose munmap or mprotect has returned.
  alignas(64) std::atomic<uint64_t> gone{0};
  auto change = [&](const User* users, size_t n, size_t changer) {
    const uint64_t closed = phase.load() + 1;
    phase.store(closed);
    if (closed % 4 == 1) {
      munmap(target, kPage);
    } else {
      mprotect(target, kPage, PROT_NONE);
    }
    gone.store(closed);
    AwaitTraps(users, n, changer, closed);
    gone.store(0);
    Map(target, kReadWrite, kAnonymous | MAP_FIXED);
    Fill(target, closed);
    phase.store(closed + 1);
    usleep(50);
  };
  auto use = [&](size_t me) {
    const uint64_t before = gone.load();
    const uint64_t value = Load(target + (me * 8) % (kPage / 8));
    // A read that traps returns only after `gone` has changed.
    if (before != 0 && gone.load() == before) {
      context.verdict->Fail("munmap: cpu %d read %llu from a page that was gone", sched_getcpu(),
                            static_cast<unsigned long long>(value));
    }
  };
  const uint64_t changes = ChangeAndUse(context, change, use);
  munmap(target, kPage);
  return changes;
}

}  // namespace stress
