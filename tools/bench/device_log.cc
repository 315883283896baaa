#include "tools/bench/device_log.h"

#include <fstream>
#include <sstream>

namespace dvm::tools {
namespace {

constexpr std::string_view kMark = "BENCH ";

std::optional<u64> read_counter(const char* name) {
  std::ifstream file(std::string("/sys/kernel/debug/kvm/") + name);
  u64 count = 0;
  if (!(file >> count)) return std::nullopt;
  return count;
}

}  // namespace

std::optional<KvmCounts> kvm_counts() {
  const auto exits = read_counter("exits"), injected = read_counter("irq_injections");
  if (!exits || !injected) return std::nullopt;
  return KvmCounts{*exits, *injected};
}

std::optional<double> DeviceJobRun::per_operation(const std::optional<double>& count) const {
  if (!count || !operations || *operations <= 0) return std::nullopt;
  return *count / *operations;
}

void DeviceLog::feed(std::string_view line) {
  const auto at = line.find(kMark);
  if (at == std::string_view::npos) return;
  std::istringstream words{std::string(line.substr(at + kMark.size()))};
  std::string what, job;
  double first = 0, second = 0;
  words >> what >> job;
  if (what == "failed") {
    failure_ = std::string(line.substr(at + kMark.size()));
    return;
  }
  if (!(words >> first)) return;
  if (what == "begin") return begin(job, first);
  if (what == "end") return end(job, first);
  if (what != "result" || !(words >> second)) return;
  jobs_[job].rate = first;
  jobs_[job].operations = second;
}

void DeviceLog::begin(const std::string& job, double interrupts) {
  running_ = job;
  interrupts_before_ = interrupts;
  if (sources_.clear) sources_.clear();
  counts_before_ = sources_.counts();
}

void DeviceLog::end(const std::string& job, double interrupts) {
  if (job != running_) return;
  running_.clear();
  DeviceJobRun& run = jobs_[job];
  const auto counts = sources_.counts();
  if (counts && counts_before_ && counts->exits >= counts_before_->exits &&
      counts->injected >= counts_before_->injected) {
    run.exits = static_cast<double>(counts->exits - counts_before_->exits);
    run.injected = static_cast<double>(counts->injected - counts_before_->injected);
  }
  if (interrupts >= interrupts_before_) run.interrupts = interrupts - interrupts_before_;
  if (sources_.take) run.reasons = sources_.take();
}

}  // namespace dvm::tools
