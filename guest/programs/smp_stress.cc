// Self-checking SMP stress: what must hold between the CPUs of one machine, tried for a while.
//   smp_stress [--seconds 120] [--slice S] [--only PART] [--split-locks 1] [--hang-after 300]
// Every part runs for a slice, round after round, until the seconds are over.
#include <signal.h>

#include "stress/stress.h"

namespace {

using guest::Format;

struct Part {
  const char* name;
  uint64_t (*run)(const stress::Context&);
  uint64_t total;
};

Part parts[] = {
    {"atomics", stress::Atomics, 0},       {"locks", stress::Locks, 0},
    {"futex", stress::FutexPingPong, 0},   {"signals", stress::Signals, 0},
    {"migrations", stress::Migrations, 0}, {"membarrier", stress::Membarriers, 0},
    {"remap", stress::Remaps, 0},          {"mprotect", stress::WriteProtection, 0},
    {"munmap", stress::Unmaps, 0},         {"registers", stress::Registers, 0},
    {"processes", stress::Processes, 0},
};

const char* volatile current = "start";

// A lost wake-up or interrupt shows as a hang: it must end as a failure with a name, not as
// silence.
void OnHang(int) {
  char text[128];
  int size = snprintf(text, sizeof text, "smp_stress: FAIL hang in %s\n", current);
  if (write(1, text, static_cast<size_t>(size)) < 0) _exit(2);
  _exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && strcmp(argv[1], "--child") == 0) return stress::ProcessesChild(argv[2]);
  guest::Options options(argc, argv, {"seconds", "slice", "only", "split-locks", "hang-after"});
  guest::Verdict verdict("smp_stress");
  const double seconds = options.Number("seconds", 120);
  const double slice = options.Number("slice", std::min(2.0, seconds / 12));
  const std::string only = options.Text("only", "");
  const auto hang_after = static_cast<unsigned>(options.Number("hang-after", 300));
  if (!only.empty() &&
      std::none_of(std::begin(parts), std::end(parts), [&](auto& p) { return only == p.name; })) {
    fprintf(stderr, "smp_stress: no such part: %s\n", only.c_str());
    return guest::kUsage;
  }
  signal(SIGALRM, OnHang);
  stress::Context context{guest::Cpus(), &verdict, slice, 0, options.Number("split-locks", 0) > 0};
  guest::Deadline deadline(seconds);
  do {
    context.round++;
    for (Part& part : parts) {
      if (!only.empty() && only != part.name) continue;
      if (context.round > 1 && deadline.Passed()) break;
      current = part.name;
      alarm(hang_after);
      const int64_t begin = guest::Nanoseconds();
      const uint64_t checked = part.run(context);
      part.total += checked;
      printf("smp_stress: round %llu %s: %llu checked in %.2f s%s\n",
             static_cast<unsigned long long>(context.round), part.name,
             static_cast<unsigned long long>(checked),
             static_cast<double>(guest::Nanoseconds() - begin) / 1e9,
             verdict.ok() ? "" : " (failures so far)");
    }
  } while (!deadline.Passed() && verdict.ok());
  std::string figures = Format("cpus=%zu rounds=%llu", context.cpus.size(),
                               static_cast<unsigned long long>(context.round));
  for (const Part& part : parts) {
    figures += Format(" %s=%llu", part.name, static_cast<unsigned long long>(part.total));
  }
  return verdict.Finish(figures);
}
