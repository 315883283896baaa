#include "tools/bench/mapreduce_bench.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "fabric/mapping.h"
#include "tools/mapreduce/apps/app_list.h"
#include "tools/mapreduce/launcher.h"

namespace dvm::tools {
namespace {

using mapreduce::Job;
using mapreduce::RunOptions;
using mapreduce::RunResult;

struct Measured {
  double ms = 0, processor_ms = 0;
  u64 begun_again = 0;
};

// Bytes in shared memory: a fork of what holds them in memory of its own would have to copy its
// page tables, in the middle of a run.
class SharedBytes {
 public:
  static Result<SharedBytes> of(std::span<const std::byte> bytes) {
    const Fd fd(::memfd_create("dvm-expected", MFD_CLOEXEC));
    if (!fd.valid() || ::ftruncate(fd.get(), static_cast<off_t>(bytes.size())) < 0)
      return sys_error("memfd_create");
    SharedBytes shared;
    DVM_ASSIGN(shared.mapping_, Mapping::shared(fd, 0, bytes.size(), "expected output"));
    std::copy(bytes.begin(), bytes.end(), shared.mapping_.data());
    return shared;
  }
  bool equal(std::span<const std::byte> bytes) const {
    const auto mine = mapping_.bytes();
    return std::equal(mine.begin(), mine.end(), bytes.begin(), bytes.end());
  }

 private:
  Mapping mapping_;
};

// One application's job, and what its output must be.
class Subject {
 public:
  static Result<std::unique_ptr<Subject>> make(const std::string& name,
                                               const MapReduceSettings& settings) {
    const auto scale = settings.small ? mapreduce::Scale::small : mapreduce::Scale::full;
    auto app = mapreduce::make_app(name, scale);
    if (!app) return usage_error("no application is called {}", name);
    std::unique_ptr<Subject> subject(new Subject(std::move(app), settings.small));
    DVM_ASSIGN(subject->job_, Job::make(*subject->app_, settings.seed));
    return subject;
  }

  // Also the warm-up.
  Status make_reference(u32 workers) {
    DVM_ASSIGN(const RunResult first, mapreduce::run_job(*job_, {.workers = workers}));
    DVM_TRY(app_->check(job_->view().input(), first.output));
    DVM_ASSIGN(expected_, SharedBytes::of(first.output));
    return {};
  }
  Result<Measured> run(const RunOptions& options) {
    DVM_ASSIGN(const RunResult result, mapreduce::run_job(*job_, options));
    const double ms = static_cast<double>(result.elapsed_ns) / 1e6;
    const bool exact = expected_.equal(result.output);
    std::fprintf(stderr,
                 "%s: %u workers, %u of %u crashes: %.1f ms, %u restarts, %lu tasks begun again, "
                 "output %s\n",
                 std::string(app_->name()).c_str(), options.workers, result.crashes,
                 options.crashes, ms, result.restarts, result.begun_again,
                 exact ? "exact" : "WRONG");
    if (!exact) return error("{}: the output differs from that without crashes", app_->name());
    if (result.crashes < options.crashes && !small_)
      return error("{}: over after {} of {} crashes", app_->name(), result.crashes,
                   options.crashes);
    return Measured{ms, static_cast<double>(result.processor_ns) / 1e6, result.begun_again};
  }

 private:
  Subject(std::unique_ptr<mapreduce::App> app, bool small) : app_(std::move(app)), small_(small) {}

  const std::unique_ptr<mapreduce::App> app_;
  const bool small_;  // over before all its crashes could come
  std::unique_ptr<Job> job_;
  SharedBytes expected_;
};

MapReduceSeries empty_series(const std::string& app, u32 workers, std::vector<u32> crashes) {
  std::erase(crashes, 0u);
  crashes.insert(crashes.begin(), 0);
  MapReduceSeries s{.app = app, .workers = workers, .crashes = crashes};
  s.ms.resize(crashes.size());
  s.processor_ms.resize(crashes.size());
  s.begun_again.resize(crashes.size());
  return s;
}

// One run of each, from another one on in every round, so that none always follows the same.
Status run_round(Subject& subject, MapReduceSeries& series, u32 round, u64 seed) {
  const std::size_t kinds = series.crashes.size();
  for (std::size_t i = 0; i < kinds; ++i) {
    const std::size_t kind = (i + round) % kinds;
    DVM_ASSIGN(const Measured run, subject.run({.workers = series.workers,
                                                .crashes = series.crashes[kind],
                                                .seed = seed * 1'000'003 + round}));
    series.ms[kind].emplace_back(run.ms);
    series.processor_ms[kind].emplace_back(run.processor_ms);
    series.begun_again[kind] += run.begun_again;
  }
  return {};
}

}  // namespace

Result<std::vector<MapReduceSeries>> measure_mapreduce(const MapReduceSettings& settings) {
  auto workers = settings.workers;
  const auto processors = static_cast<u32>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  if (workers.empty()) workers = {16, std::min(processors, RunOptions::kMostWorkers)};
  std::vector<MapReduceSeries> all;
  for (const std::string& name : settings.apps.empty() ? mapreduce::app_names() : settings.apps) {
    DVM_ASSIGN(const auto subject, Subject::make(name, settings));
    DVM_TRY(subject->make_reference(workers.front()));
    const std::size_t first = all.size();
    for (const u32 count : workers) all.push_back(empty_series(name, count, settings.crashes));
    for (u32 round = 0; round < settings.runs; ++round) {
      for (std::size_t i = first; i < all.size(); ++i)
        DVM_TRY(run_round(*subject, all[i], round, settings.seed));
    }
  }
  return all;
}

}  // namespace dvm::tools
