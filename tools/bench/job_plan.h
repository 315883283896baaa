// Which guests `dvm-bench recovery --jobs` runs, and when nodes of theirs die. Pure.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fabric/types.h"
#include "tools/bench/death_instants.h"

namespace dvm::tools {

// One of guest/programs/job_work's: done so many times over that it takes 15 to 30 s in the lab.
struct JobKind {
  const char* name;
  const char* lupin;  // the application of mapreduce_bench.h that is like it
  u32 repeats;
};
constexpr std::array<JobKind, 6> kJobs = {{
    {"wordcount", "wordcount", 128},
    {"kmeans", "kmeans", 108},
    {"matrix", "matrix-multiply", 92},
    {"histogram", "histogram", 180},
    {"blackscholes", "black-scholes", 212},
    {"dedup", "dedup", 90},
}};
std::string job_names();  // "wordcount, kmeans, ..."

// A way to protect the guest, and what ends its nodes.
struct JobProtection {
  const char* name;
  DeathKind death;
};
constexpr std::array<JobProtection, 2> kJobProtections = {{
    {"flush", DeathKind::kill},
    {"epoch", DeathKind::host},
}};

// What happens during a run. The control tells what it costs the lab, where all nodes share one
// processor, that processes end and start: a node dies as often that runs no vCPU.
struct JobRunKind {
  const char* name;
  u32 deaths;
  bool spare;  // who dies is a node without vCPUs
};
constexpr std::array<JobRunKind, 4> kJobRunKinds = {{
    {"0-deaths", 0, false},
    {"1-death", 1, false},
    {"8-deaths", 8, false},
    {"control", 8, true},
}};
constexpr std::size_t kNoDeaths = 0, kControl = 3;

constexpr u32 kJobVcpus = 4;  // each with a node of its own; the spare node is one more

// How many of `repeats` are done when that death is due: deaths lie evenly over a run, with half an
// interval before the first and after the last one.
u32 repeats_before(u32 death, u32 deaths, u32 repeats);
// How far into a repeat it comes, as a part: not always at the same step of a job.
double part_before(u32 death);

// What a line of job_work's says: how far it is, or how it ended.
struct JobLine {
  u32 done = 0, of = 0;
  bool ended = false;
  bool ok = false;
  u64 units = 0, elapsed_ns = 0;  // by the guest's clock
  std::string text;               // what was wrong
};
// None: it is no line of job_work's, or one that tells nothing of these.
std::optional<JobLine> read_job_line(std::string_view line);

// The guest's init runs it. Afterwards the guest waits to be stopped: the last node may be on its
// way back.
std::string job_script(const JobKind& job);

}  // namespace dvm::tools
