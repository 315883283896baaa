#include "tools/bench/device_bench.h"

#include "tools/bench/iperf_server.h"
#include "tools/message.h"
#include "tools/node_process.h"

namespace dvm::tools {
namespace {

constexpr const char* kMarker = "DVM-USERSPACE";
constexpr std::size_t kMaxFailures = 3;

}  // namespace

std::optional<std::string> device_failure(const ConsoleRun& run, const DeviceLog& log,
                                          const std::vector<DeviceJob>& jobs, double limit_s) {
  std::string why;
  if (!log.failure().empty()) {
    why = log.failure();
  } else if (run.timed_out) {
    why = fmt::format("did not end within {} s", limit_s);
  } else if (run.wait_status != 0) {
    why = describe_wait_status(run.wait_status);
  } else {
    for (const auto& job : jobs) {
      const auto found = log.jobs().find(job.name);
      if (found == log.jobs().end() || !found->second.rate) why = "no result of " + job.name;
    }
  }
  if (why.empty()) return std::nullopt;
  return fmt::format("{}; the end of its output: {}", why, one_line(run.tail));
}

DeviceBench::DeviceBench(const DeviceOptions& options, std::vector<DeviceContender> contenders,
                         Progress progress)
    : options_(options), progress_(std::move(progress)) {
  for (auto& contender : contenders) all_.push_back({std::move(contender), {}, {}});
}

Result<std::vector<DeviceSamples>> DeviceBench::run() {
  DVM_TRY(run_round(Round::warm_up, "warm-up"));
  for (u32 i = 1; i <= options_.runs; ++i)
    DVM_TRY(run_round(Round::counted, fmt::format("round {} of {}", i, options_.runs)));
  if (options_.reasons) {
    auto profile = ExitProfile::start();
    if (!profile) {
      progress_("no exits by reason: " + profile.error().message);
    } else {
      profile_.emplace(profile.take());
      DVM_TRY(run_round(Round::reasons, "exits by reason"));
      profile_.reset();
    }
  }
  return std::move(all_);
}

Status DeviceBench::run_round(Round kind, const std::string& title) {
  for (auto& samples : all_) {
    const bool given_up = samples.failures.size() >= kMaxFailures && samples.jobs.empty();
    if (!given_up) DVM_TRY(run_once(samples, kind, title));
  }
  return {};
}

DeviceLog::Sources DeviceBench::sources(Round kind) {
  DeviceLog::Sources sources{.counts = kvm_counts, .clear = {}, .take = {}};
  if (kind != Round::reasons) return sources;
  sources.clear = [this] { (void)profile_->clear(); };
  sources.take = [this]() -> std::optional<ExitCounts> {
    auto taken = profile_->take();
    if (!taken) return std::nullopt;
    return taken.take();
  };
  return sources;
}

Status DeviceBench::run_once(DeviceSamples& samples, Round kind, const std::string& title) {
  std::unique_ptr<IperfServer> server;
  if (!options_.net.empty()) {
    DVM_ASSIGN(server, IperfServer::start(options_.port));
  }
  DeviceLog log(sources(kind));
  const auto run = run_on_console({.words = samples.contender.words,
                                   .marker = kMarker,
                                   .limit_s = options_.limit_s,
                                   .at_marker = {},
                                   .on_line = [&](std::string_view line) { log.feed(line); }});
  const auto failure = run.ok() ? device_failure(*run, log, options_.jobs, options_.limit_s)
                                : std::optional(run.error().message);
  const std::string name = fmt::format("{}: {}", title, samples.contender.name);
  if (failure) {
    samples.failures.push_back(*failure);
    progress_(fmt::format("{}: failed: {}", name, *failure));
  } else {
    std::string rates;
    for (const auto& job : options_.jobs)
      rates += fmt::format(" {} {:.0f}", job.name, *log.jobs().at(job.name).rate);
    progress_(name + ":" + rates);
  }
  if (kind != Round::warm_up) take(samples, failure ? DeviceLog(sources(kind)) : log, kind);
  return {};
}

// A round without values is there too: rounds are paired by their place.
void DeviceBench::take(DeviceSamples& samples, const DeviceLog& log, Round kind) {
  for (const auto& job : options_.jobs) {
    const auto found = log.jobs().find(job.name);
    const DeviceJobRun run = found == log.jobs().end() ? DeviceJobRun{} : found->second;
    DeviceSeries& series = samples.jobs[job.name];
    if (kind == Round::reasons) {
      series.reasons = run.reasons;
      series.reasons_operations = run.operations.value_or(0);
      continue;
    }
    series.rate.push_back(run.rate);
    series.exits.push_back(run.per_operation(run.exits));
    series.injected.push_back(run.per_operation(run.injected));
    series.interrupts.push_back(run.per_operation(run.interrupts));
  }
}

}  // namespace dvm::tools
