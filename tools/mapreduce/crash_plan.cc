#include "tools/mapreduce/crash_plan.h"

#include "tools/mapreduce/random.h"

namespace dvm::mapreduce {

std::vector<double> spread_crashes(u32 crashes, u64 seed) {
  constexpr double kUsedPart = 0.98;
  Random random(seed);
  std::vector<double> moments;
  for (u32 i = 0; i < crashes; ++i)
    moments.push_back((static_cast<double>(i) + kUsedPart * random.unit()) / crashes);
  return moments;
}

}  // namespace dvm::mapreduce
