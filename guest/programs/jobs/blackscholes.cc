// Prices of European options by the formula of Black and Scholes.
#include <cmath>

#include "jobs.h"

namespace jobs {
namespace {

constexpr size_t kOptions = 40'000, kPieces = 40;

struct Option {
  double spot, strike, rate, volatility, years;
};
struct Price {
  double call, put;
};

double Normal(double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }

// Not inlined: the same instructions for the price and for what it is compared with, as another
// order of the same operations may round another way.
__attribute__((noinline)) Price PriceOf(const Option& o) {
  const double spread = o.volatility * std::sqrt(o.years);
  const double d1 =
      (std::log(o.spot / o.strike) + (o.rate + o.volatility * o.volatility / 2) * o.years) / spread;
  const double d2 = d1 - spread;
  const double discounted = o.strike * std::exp(-o.rate * o.years);
  return {o.spot * Normal(d1) - discounted * Normal(d2),
          discounted * Normal(-d2) - o.spot * Normal(-d1)};
}

class BlackScholes : public Job {
 public:
  BlackScholes() : options_(kOptions), result_(kOptions), expected_(kOptions) {
    guest::Rng rng(6);
    const auto between = [&](double low, double high) {
      return low + (high - low) * static_cast<double>(rng.Below(1 << 20)) / (1 << 20);
    };
    for (Option& o : options_)
      o = {between(5, 150), between(5, 150), between(0.01, 0.1), between(0.05, 0.9),
           between(0.1, 5)};
    for (size_t i = kOptions; i > 0; i--) expected_[i - 1] = PriceOf(options_[i - 1]);
  }

  void Repeat(Crew& crew) override {
    crew.Run(kPieces, [&](size_t piece, size_t) {
      const Part part = PartOf(kOptions, kPieces, piece);
      for (size_t i = part.begin; i < part.end; i++) result_[i] = PriceOf(options_[i]);
    });
  }
  std::span<uint8_t> Input() override { return Bytes(options_); }
  std::span<uint8_t> Result() override { return Bytes(result_); }
  std::span<const uint8_t> Expected() const override { return Bytes(expected_); }

 private:
  std::vector<Option> options_;
  std::vector<Price> result_, expected_;
};

}  // namespace

std::unique_ptr<Job> MakeBlackScholes() { return std::make_unique<BlackScholes>(); }

}  // namespace jobs
