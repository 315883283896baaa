// One machine: booted, made to panic, and followed until it is back.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tools/bench/boot_watch.h"

namespace dvm::tools {

struct RebootRun {
  std::vector<std::string> words;
  BootPlace place;
  // A program that prints a JSON object of counters when all is over; empty: none.
  std::vector<std::string> counters;
};

struct RebootTrace {
  BootTrace cold, again;
  HostMemory before;
  std::map<std::string, double> counters;  // numbers by their path: "reads.shared"
};

Result<RebootTrace> run_reboot(const RebootRun& run);
// Boots it and shuts it down in good order, so that its next boot is not its first.
Status settle(const RebootRun& run);
// All numbers of a JSON object, with dots between the keys. Pure.
std::map<std::string, double> numbers_of(const std::string& json);

}  // namespace dvm::tools
