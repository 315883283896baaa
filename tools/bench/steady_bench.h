// What being protected costs a guest that works: the same work on machines that differ in their
// protection alone, which take turns.
#pragma once

#include <array>
#include <map>
#include <string>

#include "tools/bench/bench_stats.h"
#include "tools/bench/recovery_options.h"

namespace dvm::tools {

// guest/programs/steady_work's.
constexpr std::array<const char*, 3> kSteadyWorks = {"compute", "rewrite", "wake"};

// One value for each round.
struct SteadySamples {
  Series boot_s;  // to user space
  std::array<Series, kSteadyWorks.size()> us_a_unit;
};

// What the guest printed, by work, in units a second. Pure.
std::map<std::string, double> read_steady_lines(const std::string& console);

// One guest under that protection: boots, works, ends. Values, or none of what went wrong, are
// added to `samples`; the error says what that was.
Status add_steady_round(const RecoveryOptions& options, const std::string& protect,
                        const std::string& dvm_run, SteadySamples& samples);

}  // namespace dvm::tools
