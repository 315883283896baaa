// Processes: fork, copy on write, exec, pipes and exit codes, on every CPU at once.
#include <fcntl.h>
#include <sys/wait.h>

#include "stress.h"

namespace stress {
namespace {

constexpr size_t kSharedWords = 4096;

uint64_t Answer(uint64_t question) { return Fnv(&question, sizeof question); }

int ExitCode(uint64_t question) { return static_cast<int>(question % 100); }

// In the forked child of a threaded process: only calls that are safe there.
[[noreturn]] void Child(uint64_t question, int out, std::vector<uint64_t>& memory, bool exec) {
  if (exec) {
    char text[24];
    char* digit = text + sizeof text - 1;
    *digit = '\0';
    uint64_t rest = question;
    do {
      *--digit = static_cast<char>('0' + rest % 10);
      rest /= 10;
    } while (rest != 0);
    dup2(out, 1);
    char name[] = "smp_stress";
    char option[] = "--child";
    char* arguments[] = {name, option, digit, nullptr};
    execv("/proc/self/exe", arguments);
    _exit(101);
  }
  // The child's writes are its own: the parent checks that it sees none of them.
  for (uint64_t& word : memory) {
    if (word != question) _exit(102);
    word = ~question;
  }
  const uint64_t answer = Answer(question);
  if (write(out, &answer, sizeof answer) != sizeof answer) _exit(103);
  _exit(ExitCode(question));
}

// Returns what went wrong, or null.
const char* OneChild(uint64_t question, std::vector<uint64_t>& memory, bool exec) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return "no pipe";
  std::fill(memory.begin(), memory.end(), question);
  const pid_t child = fork();
  if (child == 0) Child(question, ends[1], memory, exec);
  close(ends[1]);
  uint64_t answer = 0;
  const ssize_t size = child < 0 ? 0 : read(ends[0], &answer, sizeof answer);
  close(ends[0]);
  if (child < 0) return "no fork";
  int status = 0;
  if (waitpid(child, &status, 0) != child) return "child lost";
  if (!WIFEXITED(status)) return "child killed by a signal";
  if (WEXITSTATUS(status) == 101) return "exec failed (is /proc mounted?)";
  if (WEXITSTATUS(status) != ExitCode(question)) return "wrong exit code";
  if (size != sizeof answer || answer != Answer(question)) return "wrong answer in the pipe";
  if (std::any_of(memory.begin(), memory.end(), [=](uint64_t w) { return w != question; })) {
    return "the parent's memory changed";
  }
  return nullptr;
}

}  // namespace

int ProcessesChild(const char* argument) {
  const uint64_t question = strtoull(argument, nullptr, 10);
  const uint64_t answer = Answer(question);
  if (write(1, &answer, sizeof answer) != sizeof answer) return 103;
  return ExitCode(question);
}

uint64_t Processes(const Context& context) {
  std::vector<Count> counts(context.cpus.size());
  guest::RunThreads(context.cpus, counts.size(), [&](size_t me) {
    guest::Rng rng(context.round * 211 + me);
    std::vector<uint64_t> memory(kSharedWords);
    guest::Deadline deadline(context.seconds);
    while (!deadline.Passed()) {
      const char* wrong = OneChild(rng.Next(), memory, rng.Below(4) == 0);
      if (wrong != nullptr) {
        context.verdict->Fail("processes: %s, on cpu %d", wrong, sched_getcpu());
      }
      counts[me].value++;
    }
  });
  return Sum(counts);
}

}  // namespace stress
