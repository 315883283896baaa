// How often each value of red, green and blue stands in a picture.
#include "jobs.h"

namespace jobs {
namespace {

constexpr size_t kPixels = 9'000'000, kColours = 3, kValues = 256, kPieces = 64;

using Counts = std::vector<uint64_t>;  // red first

class Histogram : public Job {
 public:
  // Darker towards the end, and each colour another way.
  Histogram() : picture_(kPixels * kColours), result_(kColours * kValues) {
    guest::Rng rng(5);
    for (size_t i = 0; i < picture_.size(); i++) {
      const size_t most = kValues - kValues / 2 * i / picture_.size();
      picture_[i] = static_cast<uint8_t>(rng.Below(most) >> (i % kColours));
    }
    // One colour after the other.
    expected_.resize(kColours * kValues);
    for (size_t colour = 0; colour < kColours; colour++) {
      for (size_t i = colour; i < picture_.size(); i += kColours)
        expected_[colour * kValues + picture_[i]]++;
    }
  }

  void Repeat(Crew& crew) override {
    std::vector<Counts> mine(crew.workers(), Counts(kColours * kValues));
    crew.Run(kPieces, [&](size_t piece, size_t worker) {
      const Part part = PartOf(kPixels, kPieces, piece);
      uint64_t* const counts = mine[worker].data();
      for (size_t i = part.begin * kColours; i < part.end * kColours; i += kColours) {
        counts[picture_[i]]++;
        counts[kValues + picture_[i + 1]]++;
        counts[2 * kValues + picture_[i + 2]]++;
      }
    });
    std::fill(result_.begin(), result_.end(), 0);
    for (const Counts& counts : mine) {
      for (size_t i = 0; i < counts.size(); i++) result_[i] += counts[i];
    }
  }
  std::span<uint8_t> Input() override { return picture_; }
  std::span<uint8_t> Result() override { return Bytes(result_); }
  std::span<const uint8_t> Expected() const override { return Bytes(expected_); }

 private:
  std::vector<uint8_t> picture_;
  Counts result_, expected_;
};

}  // namespace

std::unique_ptr<Job> MakeHistogram() { return std::make_unique<Histogram>(); }

}  // namespace jobs
