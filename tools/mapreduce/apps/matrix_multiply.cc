#include "tools/mapreduce/apps/matrix_multiply.h"

#include <array>

#include "tools/mapreduce/job_view.h"
#include "tools/mapreduce/random.h"
#include "tools/mapreduce/result_writer.h"

namespace dvm::mapreduce {

std::vector<Phase> MatrixMultiply::phases() const {
  return {{"map", tiles() * tiles(), sizeof(double) * size_.tile * u64{size_.tile}}};
}

void MatrixMultiply::make_input(std::span<std::byte> input, u64 seed) const {
  Random random(seed);
  for (double& element : values_in<double>(input))
    element = static_cast<double>(random.below(17)) - 8;
}

u64 MatrixMultiply::run(u32, u32 task, const JobView& job, std::span<std::byte> result) const {
  const u64 side = size_.side, tile = size_.tile;
  const auto a = values_in<double>(job.input().first(job.input().size() / 2));
  const auto b = values_in<double>(job.input().subspan(job.input().size() / 2));
  const u64 top = task / tiles() * tile, left = task % tiles() * tile;
  ResultWriter writer(result);
  for (u64 row = top; row < top + tile; ++row) {
    std::array<double, kMostTile> sums{};
    for (u64 k = 0; k < side; ++k) {
      const double factor = a[row * side + k];
      const double* line = &b[k * side + left];
      for (u64 column = 0; column < tile; column += 4) {
        for (u64 i = column; i < column + 4; ++i) sums[i] += factor * line[i];
      }
    }
    writer.values(std::span<const double>(sums).first(tile));
  }
  return writer.size();
}

Status MatrixMultiply::check(std::span<const std::byte> input,
                             std::span<const std::byte> output) const {
  const u64 side = size_.side;
  const auto a = values_in<double>(input.first(input.size() / 2));
  const auto b = values_in<double>(input.subspan(input.size() / 2));
  const auto product = values_in<double>(output);
  if (product.size() != side * side) return error("matrix-multiply: {} elements", product.size());
  std::vector<i32> sums(side);
  for (u64 row = 0; row < side; ++row) {
    sums.assign(side, 0);
    for (u64 k = 0; k < side; ++k) {
      const auto factor = static_cast<i32>(a[row * side + k]);
      for (u64 column = 0; column < side; ++column)
        sums[column] += factor * static_cast<i32>(b[k * side + column]);
    }
    for (u64 column = 0; column < side; ++column) {
      const u64 tile = row / size_.tile * tiles() + column / size_.tile;
      const u64 inside = row % size_.tile * size_.tile + column % size_.tile;
      const double got = product[tile * size_.tile * size_.tile + inside];
      if (got != static_cast<double>(sums[column]))
        return error("matrix-multiply: row {} column {} is {}, not {}", row, column, got,
                     sums[column]);
    }
  }
  return {};
}

}  // namespace dvm::mapreduce
