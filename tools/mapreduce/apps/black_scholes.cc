#include "tools/mapreduce/apps/black_scholes.h"

#include <algorithm>
#include <cmath>

#include "tools/mapreduce/job_view.h"
#include "tools/mapreduce/random.h"
#include "tools/mapreduce/result_writer.h"

namespace dvm::mapreduce {
namespace {

// The cumulative normal distribution by Abramowitz and Stegun 26.2.17, as PARSEC has it; its error
// is below 7.5e-8.
double normal(double x) {
  constexpr double kInverseRoot2Pi = 0.39894228040143270286;
  const double k = 1 / (1 + 0.2316419 * std::fabs(x));
  const double polynomial =
      k *
      (0.319381530 + k * (-0.356563782 + k * (1.781477937 + k * (-1.821255978 + k * 1.330274429))));
  const double upper = kInverseRoot2Pi * std::exp(-x * x / 2) * polynomial;
  return x < 0 ? upper : 1 - upper;
}

double exact_normal(double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }

template <typename Normal>
double value_of(const Option& o, Normal distribution) {
  const double deviation = o.volatility * std::sqrt(o.years);
  const double d1 =
      (std::log(o.spot / o.strike) + (o.rate + o.volatility * o.volatility / 2) * o.years) /
      deviation;
  const double d2 = d1 - deviation;
  const double strike_now = o.strike * std::exp(-o.rate * o.years);
  const double call = o.spot * distribution(d1) - strike_now * distribution(d2);
  return o.put != 0 ? call - o.spot + strike_now : call;
}

template <typename Normal>
OptionValue value_in_scenarios(const Option& option, Normal distribution) {
  const double value = value_of(option, distribution);
  OptionValue all{value, value, value};
  for (u32 i = 0; i < BlackScholes::kSteps * BlackScholes::kSteps; ++i) {
    Option scenario = option;
    scenario.spot *= 0.86 + 0.04 * (i % BlackScholes::kSteps);
    scenario.volatility *= 0.79 + 0.06 * (i / BlackScholes::kSteps);
    const double there = value_of(scenario, distribution);
    all.lowest = std::min(all.lowest, there);
    all.highest = std::max(all.highest, there);
  }
  return all;
}

}  // namespace

std::vector<Phase> BlackScholes::phases() const {
  return {{"map", size_.tasks, sizeof(OptionValue) * (size_.options / size_.tasks)}};
}

void BlackScholes::make_input(std::span<std::byte> input, u64 seed) const {
  Random random(seed);
  for (Option& o : values_in<Option>(input)) {
    o.spot = 20 + 160 * random.unit();
    o.strike = o.spot * (0.6 + 0.8 * random.unit());
    o.rate = 0.01 + 0.09 * random.unit();
    o.volatility = 0.05 + 0.6 * random.unit();
    o.years = 0.05 + 2 * random.unit();
    o.put = random.below(2);
  }
}

u64 BlackScholes::run(u32, u32 task, const JobView& job, std::span<std::byte> result) const {
  const u64 each = size_.options / size_.tasks;
  ResultWriter writer(result);
  for (const Option& option : values_in<Option>(job.input()).subspan(task * each, each))
    writer.value(value_in_scenarios(option, normal));
  return writer.size();
}

Status BlackScholes::check(std::span<const std::byte> input,
                           std::span<const std::byte> output) const {
  const auto options = values_in<Option>(input);
  const auto values = values_in<OptionValue>(output);
  if (values.size() != options.size()) return error("black-scholes: {} values", values.size());
  for (u64 i = 0; i < options.size(); ++i) {
    const OptionValue right = value_in_scenarios(options[i], exact_normal);
    const double wrong = std::max({std::fabs(values[i].value - right.value),
                                   std::fabs(values[i].lowest - right.lowest),
                                   std::fabs(values[i].highest - right.highest)});
    if (!(wrong < 1e-6 * options[i].spot))
      return error("black-scholes: option {} is off by {}", i, wrong);
  }
  return {};
}

}  // namespace dvm::mapreduce
