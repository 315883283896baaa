// Histogram: how often each value of red, green, blue, hue, saturation and brightness is in a
// picture.
#pragma once

#include <array>

#include "tools/mapreduce/app.h"

namespace dvm::mapreduce {

// map: counts one run of pixels. reduce: adds up some bins of all runs.
class Histogram : public App {
 public:
  static constexpr u32 kChannels = 6, kBins = 256;
  struct Size {
    u64 pixels = 0;  // of three bytes
    u32 runs = 0;    // a divisor of `pixels`
  };
  explicit Histogram(const Size& size) : size_(size) {}

  std::string_view name() const override { return "histogram"; }
  u64 input_bytes() const override { return 3 * size_.pixels; }
  std::vector<Phase> phases() const override;
  void make_input(std::span<std::byte> input, u64 seed) const override;
  u64 run(u32 phase, u32 task, const JobView& job, std::span<std::byte> result) const override;
  Status check(std::span<const std::byte> input, std::span<const std::byte> output) const override;

 private:
  using Counts = std::array<std::array<u32, kBins>, kChannels>;
  u64 map(std::span<const std::byte> pixels, std::span<std::byte> result) const;
  u64 reduce(u32 part, const JobView& job, std::span<std::byte> result) const;

  const Size size_;
};

}  // namespace dvm::mapreduce
