// Black-Scholes in the manner of PARSEC: the value of European options by the closed formula, many
// times over. Here each option is valued in a grid of scenarios of the spot price and volatility.
#pragma once

#include "tools/mapreduce/app.h"

namespace dvm::mapreduce {

struct Option {
  double spot = 0, strike = 0;
  double rate = 0, volatility = 0;  // of a year
  double years = 0;
  u64 put = 0;  // 1: put, 0: call
};

struct OptionValue {
  double value = 0, lowest = 0, highest = 0;  // as it is; over all scenarios
};

// One map phase: a task values some options.
class BlackScholes : public App {
 public:
  static constexpr u32 kSteps = 8;  // of the spot price, and of the volatility
  struct Size {
    u64 options = 0;
    u32 tasks = 0;  // a divisor of `options`
  };
  explicit BlackScholes(const Size& size) : size_(size) {}

  std::string_view name() const override { return "black-scholes"; }
  u64 input_bytes() const override { return sizeof(Option) * size_.options; }
  std::vector<Phase> phases() const override;
  void make_input(std::span<std::byte> input, u64 seed) const override;
  u64 run(u32 phase, u32 task, const JobView& job, std::span<std::byte> result) const override;
  // By the normal distribution of the C library, to within the error of the polynomial.
  Status check(std::span<const std::byte> input, std::span<const std::byte> output) const override;

 private:
  const Size size_;
};

}  // namespace dvm::mapreduce
