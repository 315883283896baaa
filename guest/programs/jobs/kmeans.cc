// Points in space, gathered around centres by Lloyd's algorithm. All numbers are whole, so sums are
// the same in any order.
#include <array>

#include "jobs.h"

namespace jobs {
namespace {

constexpr size_t kPoints = 100'000, kDimensions = 4, kCentres = 12, kSteps = 6, kPieces = 32;

using Point = std::array<int32_t, kDimensions>;
struct Cluster {
  std::array<int64_t, kDimensions> sum{};
  int64_t points = 0;
  int64_t distance = 0;  // squared, of all to the centre
};
using Clusters = std::array<Cluster, kCentres>;

int64_t Distance(const Point& a, const Point& b) {
  int64_t sum = 0;
  for (size_t d = 0; d < kDimensions; d++) {
    const int64_t difference = a[d] - b[d];
    sum += difference * difference;
  }
  return sum;
}

void Assign(const Point& point, const std::vector<Point>& centres, Clusters& clusters) {
  size_t nearest = 0;
  int64_t least = INT64_MAX;
  for (size_t c = 0; c < kCentres; c++) {
    const int64_t distance = Distance(point, centres[c]);
    if (distance < least) {
      least = distance;
      nearest = c;
    }
  }
  Cluster& cluster = clusters[nearest];
  for (size_t d = 0; d < kDimensions; d++) cluster.sum[d] += point[d];
  cluster.points++;
  cluster.distance += least;
}

// A centre without points stays where it is.
void Move(const Clusters& clusters, std::vector<Point>& centres) {
  for (size_t c = 0; c < kCentres; c++) {
    if (clusters[c].points == 0) continue;
    for (size_t d = 0; d < kDimensions; d++)
      centres[c][d] = static_cast<int32_t>(clusters[c].sum[d] / clusters[c].points);
  }
}

class KMeans : public Job {
 public:
  KMeans() : points_(kPoints) {
    guest::Rng rng(2);
    for (Point& point : points_) {
      for (int32_t& x : point) x = static_cast<int32_t>(rng.Below(1000) + 4000 * rng.Below(4));
    }
    // One point after the other, backwards.
    std::vector<Point> centres = FirstCentres();
    Clusters clusters;
    for (size_t step = 0; step < kSteps; step++) {
      clusters = {};
      for (size_t i = kPoints; i > 0; i--) Assign(points_[i - 1], centres, clusters);
      Move(clusters, centres);
    }
    expected_.assign(clusters.begin(), clusters.end());
  }

  void Repeat(Crew& crew) override {
    std::vector<Point> centres = FirstCentres();
    for (size_t step = 0; step < kSteps; step++) {
      std::vector<Clusters> mine(crew.workers());
      crew.Run(kPieces, [&](size_t piece, size_t worker) {
        Clusters sums{};
        const Part part = PartOf(kPoints, kPieces, piece);
        for (size_t i = part.begin; i < part.end; i++) Assign(points_[i], centres, sums);
        Add(sums, mine[worker]);
      });
      Clusters all{};
      for (const Clusters& clusters : mine) Add(clusters, all);
      Move(all, centres);
      result_.assign(all.begin(), all.end());
    }
  }
  std::span<uint8_t> Input() override { return Bytes(points_); }
  std::span<uint8_t> Result() override { return Bytes(result_); }
  std::span<const uint8_t> Expected() const override { return Bytes(expected_); }

 private:
  std::vector<Point> FirstCentres() const { return {points_.begin(), points_.begin() + kCentres}; }
  static void Add(const Clusters& from, Clusters& to) {
    for (size_t c = 0; c < kCentres; c++) {
      for (size_t d = 0; d < kDimensions; d++) to[c].sum[d] += from[c].sum[d];
      to[c].points += from[c].points;
      to[c].distance += from[c].distance;
    }
  }

  std::vector<Point> points_;
  std::vector<Cluster> result_, expected_;
};

}  // namespace

std::unique_ptr<Job> MakeKMeans() { return std::make_unique<KMeans>(); }

}  // namespace jobs
