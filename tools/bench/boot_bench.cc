#include "tools/bench/boot_bench.h"

#include <charconv>

#include "tools/message.h"
#include "tools/node_process.h"
#include "tools/page_summary.h"

namespace dvm::tools {
namespace {

constexpr const char* kMarker = "DVM-USERSPACE";
constexpr std::size_t kMaxFailures = 4;

}  // namespace

std::optional<std::string> boot_failure(const ConsoleRun& run, double limit_s) {
  std::string why;
  if (run.timed_out) {
    why = fmt::format("{} within {} s", run.marker_s ? "did not end" : "no user space", limit_s);
  } else if (run.wait_status != 0) {
    why = describe_wait_status(run.wait_status);
  } else if (!run.marker_s) {
    why = fmt::format("ended without the line {}", kMarker);
  } else {
    return std::nullopt;
  }
  return fmt::format("{}; the end of its output: {}", why, one_line(run.tail));
}

std::optional<double> guest_seconds(const std::string& line) {
  const auto space = line.find(' ');
  if (space == std::string::npos) return std::nullopt;
  double seconds = 0;
  const char* const begin = line.data() + space + 1;
  const auto [end, failure] = std::from_chars(begin, line.data() + line.size(), seconds);
  if (failure != std::errc{}) return std::nullopt;
  return seconds;
}

BootBench::BootBench(const BootOptions& options, std::vector<Contender> contenders,
                     std::function<void(const std::string&)> progress)
    : options_(options), progress_(std::move(progress)) {
  for (auto& contender : contenders) {
    BootSamples samples;
    samples.contender = std::move(contender);
    all_.push_back(std::move(samples));
  }
}

std::vector<BootSamples> BootBench::run() {
  run_round(Round::warm_up, "warm-up");
  for (u32 i = 1; i <= options_.runs; ++i) {
    run_round(Round::counted, fmt::format("round {} of {}", i, options_.runs));
  }
  if (options_.reasons) run_reasons();
  return std::move(all_);
}

// The time limit may be long: one that fails from the start is not tried for ever.
bool BootBench::given_up(const BootSamples& samples) const {
  return samples.failures.size() >= kMaxFailures && present(samples.userspace_s).empty();
}

void BootBench::run_round(Round kind, const std::string& title) {
  for (auto& samples : all_) {
    if (!given_up(samples)) boot_once(samples, kind, title);
  }
}

void BootBench::boot_once(BootSamples& samples, Round kind, const std::string& title) {
  const auto before = kvm_exit_count();
  std::optional<u64> after;
  std::optional<PageSummary> pages;
  const auto run = run_on_console({.words = samples.contender.words,
                                   .marker = kMarker,
                                   .limit_s = options_.limit_s,
                                   .at_marker = [&] { after = kvm_exit_count(); },
                                   .on_line =
                                       [&](std::string_view line) {
                                         if (auto s = read_summary(line)) pages = s;
                                       }});
  const auto failure = run.ok() ? boot_failure(*run, options_.limit_s) : run.error().message;
  const std::string name = fmt::format("{}: {}", title, samples.contender.name);
  if (failure) {
    samples.failures.push_back(*failure);
    progress_(fmt::format("{}: failed: {}", name, *failure));
  } else {
    progress_(fmt::format("{}: {:.2f} s to user space, {:.2f} s to the end", name, *run->marker_s,
                          run->end_s));
  }
  if (kind == Round::warm_up) return;
  std::optional<double> userspace, end, guest, exits, hand_overs, faults;
  if (!failure) {
    userspace = *run->marker_s;
    end = run->end_s;
    guest = guest_seconds(run->marker_line);
    if (pages) {
      hand_overs = static_cast<double>(pages->hand_overs);
      faults = static_cast<double>(pages->faults);
    }
    if (before && after && *after >= *before) exits = static_cast<double>(*after - *before);
  }
  samples.userspace_s.push_back(userspace);
  samples.end_s.push_back(end);
  samples.guest_s.push_back(guest);
  samples.exits.push_back(exits);
  samples.hand_overs.push_back(hand_overs);
  samples.faults.push_back(faults);
}

void BootBench::run_reasons() {
  const auto profile = ExitProfile::start();
  if (!profile) return progress_("no exits by reason: " + profile.error().message);
  for (auto& samples : all_) {
    if (given_up(samples)) continue;
    Status status = profile->clear();
    std::optional<ExitCounts> counts;
    const auto run = run_on_console({.words = samples.contender.words,
                                     .marker = kMarker,
                                     .limit_s = options_.limit_s,
                                     .at_marker = [&] {
                                       auto taken = profile->take();
                                       if (taken) counts = taken.take();
                                     }});
    if (!run.ok()) status = run.error();
    if (status.ok() && counts) {
      samples.reasons = std::move(counts);
      progress_(fmt::format("exits by reason: {}: done", samples.contender.name));
    } else {
      progress_(fmt::format("exits by reason: {}: failed{}{}", samples.contender.name,
                            status.ok() ? "" : ": ", status.ok() ? "" : status.error().message));
    }
  }
}

}  // namespace dvm::tools
