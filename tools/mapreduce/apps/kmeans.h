// K-means: points are put to the nearest of 64 centres, centres move to the middle of their points,
// so many times.
#pragma once

#include <array>

#include "tools/mapreduce/app.h"

namespace dvm::mapreduce {

// For each round, map: sums of the points nearest to each centre, over one part of the points;
// reduce: the new place of some centres. At the end, map: each point's centre.
//
// Coordinates are whole numbers below 1024, so that squared distances are exact in a float and sums
// do not depend on their order.
class Kmeans : public App {
 public:
  static constexpr u32 kDimensions = 16, kCentres = 64, kReduceTasks = 8;
  using Point = std::array<u16, kDimensions>;
  struct Centre {
    std::array<i32, kDimensions> at{};
    u64 points = 0;
  };
  struct Size {
    u64 points = 0;
    u32 parts = 0;  // a divisor of `points`
    u32 rounds = 0;
  };
  explicit Kmeans(const Size& size) : size_(size) {}

  std::string_view name() const override { return "kmeans"; }
  u64 input_bytes() const override { return sizeof(Point) * size_.points; }
  std::vector<Phase> phases() const override;
  void make_input(std::span<std::byte> input, u64 seed) const override;
  u64 run(u32 phase, u32 task, const JobView& job, std::span<std::byte> result) const override;
  // The last centres, then one byte for each point.
  std::vector<std::byte> output(const JobView& job) const override;
  Status check(std::span<const std::byte> input, std::span<const std::byte> output) const override;

 private:
  using Centres = std::array<Centre, kCentres>;
  Centres centres_before(u32 round, const JobView& job) const;
  std::span<const Point> part_of(u32 part, const JobView& job) const;

  const Size size_;
};

}  // namespace dvm::mapreduce
