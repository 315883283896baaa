#include "tools/bench/reboot_bench.h"

#include <unistd.h>

#include <algorithm>

#include "tools/bench/rebooter.h"
#include "tools/message.h"
#include "tools/size_text.h"

namespace dvm::tools {
namespace {

constexpr std::size_t kMaxFailures = 3;

std::string title_of(const RebootSeries& series) {
  return fmt::format("{}, {}, {}", series.rebooter, series.device.name, format_size(series.memory));
}

std::string told(const BootTrace& boot) {
  const BootPoint& end = *boot.phases[index_of(BootPhase::running)];
  return fmt::format("{:.1f} s, {} reads, {:.1f} MiB", end.s, end.reads.requests,
                     static_cast<double>(end.reads.bytes) / kMiB);
}

// What never came up once is not tried for ever.
bool given_up(const RebootSeries& series) {
  return series.failures.size() >= kMaxFailures && series.failures.size() == series.rounds.size();
}

}  // namespace

RebootBench::RebootBench(const RebootOptions& options, RebootPrograms programs, Progress progress)
    : options_(options), programs_(std::move(programs)), progress_(std::move(progress)) {
  for (const u64 memory : options_.memory) {
    for (const DeviceClass& device : options_.devices) {
      for (const auto& rebooter : options_.only) all_.push_back({rebooter, device, memory, {}, {}});
    }
  }
}

Result<std::vector<RebootSeries>> RebootBench::run() {
  DVM_ASSIGN(TestDisk disk, TestDisk::make(options_.image));
  if (!options_.settled) DVM_TRY(settle_image());
  for (u32 round = 1; round <= options_.runs; ++round) {
    for (auto& series : all_) {
      if (!given_up(series)) DVM_TRY(run_once(series, disk, round));
    }
  }
  return std::move(all_);
}

Status RebootBench::settle_image() {
  progress_("the image's first boot, which does not count");
  DVM_ASSIGN(RebootRun run, run_of(options_.only.back(), options_.memory.front(), options_.image));
  run.place.disk.clear();
  return settle(run);
}

Result<RebootRun> RebootBench::run_of(const std::string& rebooter, u64 memory,
                                      const std::string& disk) const {
  DVM_ASSIGN(const u16 port, free_port());
  const std::string guest = fmt::format("bench-reboot-{}", ::getpid());
  const RebooterSettings settings{.dvm_run = programs_.dvm_run,
                                  .guest = guest,
                                  .disk = disk,
                                  .cpus = options_.cpus,
                                  .nodes = options_.nodes,
                                  .memory = memory,
                                  .port = port};
  RebootRun run{.words = rebooter_words(rebooter, settings),
                .place = {disk, port, options_.limit_s},
                .counters = {}};
  if (rebooter == kSrtRebooter)
    run.counters = {programs_.dvm_ctl, "--name", guest, "--json", "srt"};
  return run;
}

Status RebootBench::run_once(RebootSeries& series, TestDisk& disk, u32 round) {
  DVM_TRY(disk.renew(series.device));
  DVM_ASSIGN(const RebootRun run, run_of(series.rebooter, series.memory, disk.device()));
  auto trace = run_reboot(run);
  const std::string title = fmt::format("round {}: {}", round, title_of(series));
  if (!trace.ok()) {
    series.failures.push_back(trace.error().message);
    series.rounds.push_back(std::nullopt);
    progress_(fmt::format("{}: failed: {}", title, trace.error().message));
    return {};
  }
  progress_(fmt::format("{}: up {}; back {}", title, told(trace->cold), told(trace->again)));
  series.rounds.push_back(trace.take());
  return {};
}

}  // namespace dvm::tools
