#include "tools/mapreduce/apps/histogram.h"

#include <algorithm>

#include "tools/mapreduce/job_view.h"
#include "tools/mapreduce/random.h"
#include "tools/mapreduce/result_writer.h"

namespace dvm::mapreduce {
namespace {

constexpr u32 kReduceTasks = 24;
constexpr u32 kAllBins = Histogram::kChannels * Histogram::kBins;
static_assert(kAllBins % kReduceTasks == 0);

using Colour = std::array<u32, Histogram::kChannels>;

// Red, green, blue; hue (a turn is 258, of six steps of 43), saturation, brightness: integers only.
Colour colour_of(u32 r, u32 g, u32 b) {
  const u32 most = std::max({r, g, b}), least = std::min({r, g, b});
  const u32 spread = most - least;
  if (spread == 0) return {r, g, b, 0, 0, most};
  const auto step = [spread](u32 x, u32 y) {
    return 43 * (static_cast<i32>(x) - static_cast<i32>(y)) / static_cast<i32>(spread);
  };
  i32 hue = 0;
  if (most == r) {
    hue = step(g, b);
  } else if (most == g) {
    hue = 86 + step(b, r);
  } else {
    hue = 172 + step(r, g);
  }
  if (hue < 0) hue += 256;
  return {r, g, b, static_cast<u32>(hue) & 255, 255 * spread / most, most};
}

u32 byte_at(std::span<const std::byte> bytes, u64 at) { return static_cast<u32>(bytes[at]); }

}  // namespace

std::vector<Phase> Histogram::phases() const {
  return {{"map", size_.runs, sizeof(Counts)}, {"reduce", kReduceTasks, 8 * kAllBins}};
}

// A slope of colours with noise over it.
void Histogram::make_input(std::span<std::byte> input, u64 seed) const {
  Random random(seed);
  u64 noise = 0, slope = 0;
  for (u64 i = 0; i < input.size(); ++i) {
    if (i % 8 == 0) {
      noise = random.next();
      slope = i * 160 / input.size();
    }
    const u64 shade = (i % 3 + 1) * slope + ((noise >> (i % 8 * 8)) & 63);
    input[i] = static_cast<std::byte>(shade & 255);
  }
}

u64 Histogram::run(u32 phase, u32 task, const JobView& job, std::span<std::byte> result) const {
  if (phase == 1) return reduce(task, job, result);
  const u64 bytes = input_bytes() / size_.runs;
  return map(job.input().subspan(task * bytes, bytes), result);
}

u64 Histogram::map(std::span<const std::byte> pixels, std::span<std::byte> result) const {
  Counts counts{};
  for (u64 i = 0; i + 2 < pixels.size(); i += 3) {
    const Colour c = colour_of(byte_at(pixels, i), byte_at(pixels, i + 1), byte_at(pixels, i + 2));
    for (u32 channel = 0; channel < kChannels; ++channel) ++counts[channel][c[channel]];
  }
  ResultWriter writer(result);
  writer.value(counts);
  return writer.size();
}

u64 Histogram::reduce(u32 part, const JobView& job, std::span<std::byte> result) const {
  constexpr u32 kPart = kAllBins / kReduceTasks;
  std::array<u64, kPart> sums{};
  for (u32 run = 0; run < size_.runs; ++run) {
    const auto counts = values_in<u32>(job.result(0, run)).subspan(part * kPart, kPart);
    for (u32 i = 0; i < kPart; ++i) sums[i] += counts[i];
  }
  ResultWriter writer(result);
  writer.value(sums);
  return writer.size();
}

Status Histogram::check(std::span<const std::byte> input, std::span<const std::byte> output) const {
  std::vector<u64> counts(kAllBins);
  for (u64 i = 0; i + 2 < input.size(); i += 3) {
    const Colour c = colour_of(byte_at(input, i), byte_at(input, i + 1), byte_at(input, i + 2));
    for (u32 channel = 0; channel < kChannels; ++channel) ++counts[channel * kBins + c[channel]];
  }
  const auto sums = values_in<u64>(output);
  if (sums.size() != kAllBins) return error("histogram: {} bins", sums.size());
  for (u32 i = 0; i < kAllBins; ++i) {
    if (sums[i] != counts[i])
      return error("histogram: bin {} has {} pixels, not {}", i, sums[i], counts[i]);
  }
  return {};
}

}  // namespace dvm::mapreduce
