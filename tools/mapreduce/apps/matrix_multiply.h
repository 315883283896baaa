// Matrix multiply: the product of two square matrices of doubles.
#pragma once

#include "tools/mapreduce/app.h"

namespace dvm::mapreduce {

// One map phase: a task makes one tile of the product. The elements are small whole numbers, so
// that the plain check is exact whatever the order of its sums.
class MatrixMultiply : public App {
 public:
  struct Size {
    u32 side = 0;  // of a matrix
    u32 tile = 0;  // of a tile; a divisor of `side`, at most kMostTile and a multiple of 4
  };
  static constexpr u32 kMostTile = 48;
  explicit MatrixMultiply(const Size& size) : size_(size) {}

  std::string_view name() const override { return "matrix-multiply"; }
  u64 input_bytes() const override { return 2 * sizeof(double) * size_.side * u64{size_.side}; }
  std::vector<Phase> phases() const override;
  void make_input(std::span<std::byte> input, u64 seed) const override;
  u64 run(u32 phase, u32 task, const JobView& job, std::span<std::byte> result) const override;
  Status check(std::span<const std::byte> input, std::span<const std::byte> output) const override;

 private:
  u32 tiles() const { return size_.side / size_.tile; }  // in a row

  const Size size_;
};

}  // namespace dvm::mapreduce
