// A product of two matrices, in floating point. All values are whole and far below 2^53, so it is
// exact, and whole numbers tell what must come out.
#include "jobs.h"

namespace jobs {
namespace {

constexpr size_t kSize = 192, kRowsOfPiece = 4;

// Below 256; a byte of a double that is changed is another number, if perhaps hardly another.
std::vector<double> SmallNumbers(uint64_t seed) {
  guest::Rng rng(seed);
  std::vector<double> matrix(kSize * kSize);
  for (double& value : matrix) value = static_cast<double>(1 + rng.Below(255));
  return matrix;
}

class Matrix : public Job {
 public:
  // Both factors in one: the left one first.
  Matrix() : factors_(SmallNumbers(3)), result_(kSize * kSize), expected_(kSize * kSize) {
    const std::vector<double> right = SmallNumbers(4);
    factors_.insert(factors_.end(), right.begin(), right.end());
    for (size_t i = 0; i < kSize; i++) {
      for (size_t j = 0; j < kSize; j++) {
        int64_t sum = 0;
        for (size_t k = 0; k < kSize; k++)
          sum += static_cast<int64_t>(Left(i, k)) * static_cast<int64_t>(Right(k, j));
        expected_[i * kSize + j] = static_cast<double>(sum);
      }
    }
  }

  void Repeat(Crew& crew) override {
    crew.Run(kSize / kRowsOfPiece, [&](size_t piece, size_t) {
      for (size_t i = piece * kRowsOfPiece; i < (piece + 1) * kRowsOfPiece; i++) MakeRow(i);
    });
  }
  std::span<uint8_t> Input() override { return Bytes(factors_); }
  std::span<uint8_t> Result() override { return Bytes(result_); }
  std::span<const uint8_t> Expected() const override { return Bytes(expected_); }

 private:
  double Left(size_t i, size_t k) const { return factors_[i * kSize + k]; }
  double Right(size_t k, size_t j) const { return factors_[(kSize + k) * kSize + j]; }
  void MakeRow(size_t i) {
    double* const row = &result_[i * kSize];
    std::fill(row, row + kSize, 0.0);
    for (size_t k = 0; k < kSize; k++) {
      const double factor = Left(i, k);
      for (size_t j = 0; j < kSize; j++) row[j] += factor * Right(k, j);
    }
  }

  std::vector<double> factors_, result_, expected_;
};

}  // namespace

std::unique_ptr<Job> MakeMatrix() { return std::make_unique<Matrix>(); }

}  // namespace jobs
