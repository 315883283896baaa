// Wake-ups between CPUs: futex hand-overs and signals, each counted exactly.
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

#include <memory>

#include "stress.h"

namespace stress {
namespace {

constexpr time_t kLostAfterSeconds = 60;

struct alignas(4096) Pair {
  std::atomic<uint32_t> turn{0};  // even: the first player's, odd: the second's
  std::atomic<bool> last_round{false};
  alignas(64) uint64_t played[2] = {0, 0};
};

long Futex(std::atomic<uint32_t>* word, int operation, uint32_t value, const timespec* limit) {
  return syscall(SYS_futex, word, operation, value, limit, nullptr, 0);
}

// Returns the turn when it is ours.
uint32_t AwaitTurn(Pair& pair, uint32_t me, guest::Verdict& verdict) {
  const timespec limit{kLostAfterSeconds, 0};
  for (;;) {
    const uint32_t turn = pair.turn.load();
    if ((turn & 1) == me) return turn;
    const long rc = Futex(&pair.turn, FUTEX_WAIT_PRIVATE, turn, &limit);
    if (rc < 0 && errno == ETIMEDOUT && pair.turn.load() != turn) {
      verdict.Fail("futex: a wake-up of cpu %d was lost", sched_getcpu());
    }
  }
}

void Play(Pair& pair, uint32_t me, const Context& context) {
  guest::Deadline deadline(context.seconds);
  bool last = false;
  while (!last) {
    const uint32_t turn = AwaitTurn(pair, me, *context.verdict);
    if (me == 0 && deadline.Passed()) pair.last_round.store(true);
    last = pair.last_round.load();
    pair.played[me]++;
    pair.turn.store(turn + 1);
    Futex(&pair.turn, FUTEX_WAKE_PRIVATE, 1, nullptr);
  }
}

// What one thread of the signal part knows; its handler runs in the thread itself.
struct alignas(64) Mailbox {
  pthread_t thread{};
  std::atomic<uint64_t> queued_received{0};
  std::atomic<uint64_t> plain_received{0};
  std::atomic<uint64_t> wrong{0};
  alignas(64) uint64_t queued_sent = 0;
  uint64_t plain_sent = 0;
};

thread_local Mailbox* my_mailbox = nullptr;
int queued_signal;  // SIGRTMIN is not a constant

uint32_t SignalValue(uint64_t number) { return static_cast<uint32_t>(number * 2654435761u); }

void OnQueued(int, siginfo_t* info, void*) {
  Mailbox* box = my_mailbox;
  // Queued signals of one number keep their order, so the value tells loss, doubles and mix-ups.
  const uint64_t number = box->queued_received.load();
  if (info->si_value.sival_int != static_cast<int>(SignalValue(number))) box->wrong.fetch_add(1);
  box->queued_received.store(number + 1);
}

void OnPlain(int) { my_mailbox->plain_received.fetch_add(1); }

template <typename Condition>
bool Await(Condition condition, bool sleep) {
  guest::Deadline lost(static_cast<double>(kLostAfterSeconds));
  guest::Backoff backoff;
  while (!condition()) {
    if (lost.Passed()) return false;
    if (sleep) {
      usleep(100);
    } else {
      backoff.Wait();
    }
  }
  return true;
}

bool SendBurst(Mailbox& to, uint64_t size) {
  for (uint64_t i = 0; i < size; i++) {
    sigval value{};
    value.sival_int = static_cast<int>(SignalValue(to.queued_sent));
    // EAGAIN only says that the queue is full at the moment.
    int rc;
    while ((rc = pthread_sigqueue(to.thread, queued_signal, value)) == EAGAIN) sched_yield();
    if (rc != 0) return false;
    to.queued_sent++;
  }
  return true;
}

void Exchange(Mailbox& to, size_t me, const Context& context) {
  guest::Rng rng(context.round * 31 + me);
  guest::Deadline deadline(context.seconds);
  while (!deadline.Passed()) {
    const bool sleep = rng.Below(8) == 0;  // a sleeping target is woken, a running one interrupted
    if (!SendBurst(to, 1 + rng.Below(8))) return context.verdict->Fail("signals: sigqueue failed");
    // A plain signal may merge with a pending one, so the next waits for the last.
    pthread_kill(to.thread, SIGUSR1);
    to.plain_sent++;
    auto arrived = [&to] {
      return to.plain_received.load() >= to.plain_sent &&
             to.queued_received.load() >= to.queued_sent;
    };
    if (!Await(arrived, sleep)) return context.verdict->Fail("signals: a signal was lost");
  }
}

void InstallHandlers() {
  queued_signal = SIGRTMIN + 1;
  struct sigaction action {};
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  action.sa_sigaction = OnQueued;
  sigaction(queued_signal, &action, nullptr);
  struct sigaction plain {};
  plain.sa_flags = SA_RESTART;
  plain.sa_handler = OnPlain;
  sigaction(SIGUSR1, &plain, nullptr);
}

}  // namespace

uint64_t FutexPingPong(const Context& context) {
  const size_t pairs = context.cpus.size();
  auto table = std::make_unique<Pair[]>(pairs);
  // Thread i is on CPU i mod n: the second players are shifted by one, so each pair spans two CPUs.
  guest::RunThreads(context.cpus, 2 * pairs, [&](size_t i) {
    const bool second = i >= pairs;
    Play(table[second ? (i + 1) % pairs : i], second ? 1 : 0, context);
  });
  uint64_t total = 0;
  for (size_t i = 0; i < pairs; i++) {
    const Pair& pair = table[i];
    if (pair.played[0] != pair.played[1] ||
        static_cast<uint32_t>(pair.played[0] + pair.played[1]) != pair.turn.load()) {
      context.verdict->Fail("futex: pair %zu: %llu and %llu turns, word %u", i,
                            static_cast<unsigned long long>(pair.played[0]),
                            static_cast<unsigned long long>(pair.played[1]), pair.turn.load());
    }
    total += pair.played[0] + pair.played[1];
  }
  return total;
}

uint64_t Signals(const Context& context) {
  InstallHandlers();
  const size_t count = context.cpus.size();
  auto boxes = std::make_unique<Mailbox[]>(count);
  guest::Barrier all(count);
  guest::RunThreads(context.cpus, count, [&](size_t me) {
    my_mailbox = &boxes[me];
    boxes[me].thread = pthread_self();
    all.Wait();
    Exchange(boxes[(me + 1) % count], me, context);
    all.Wait();  // a thread must not end while others may still send to it
  });
  uint64_t total = 0;
  for (size_t i = 0; i < count; i++) {
    const Mailbox& box = boxes[i];
    if (box.wrong.load() != 0 || box.queued_received.load() != box.queued_sent ||
        box.plain_received.load() != box.plain_sent) {
      context.verdict->Fail("signals: cpu %d: queued %llu of %llu, plain %llu of %llu, wrong %llu",
                            context.cpus[i],
                            static_cast<unsigned long long>(box.queued_received.load()),
                            static_cast<unsigned long long>(box.queued_sent),
                            static_cast<unsigned long long>(box.plain_received.load()),
                            static_cast<unsigned long long>(box.plain_sent),
                            static_cast<unsigned long long>(box.wrong.load()));
    }
    total += box.queued_sent + box.plain_sent;
  }
  return total;
}

}  // namespace stress
