#include "tools/mapreduce/apps/kmeans.h"

#include <algorithm>
#include <limits>

#include "tools/mapreduce/job_view.h"
#include "tools/mapreduce/random.h"
#include "tools/mapreduce/result_writer.h"

namespace dvm::mapreduce {
namespace {

constexpr u32 kDimensions = Kmeans::kDimensions, kCentres = Kmeans::kCentres;
constexpr u32 kTogether = kCentres / Kmeans::kReduceTasks;

struct Sums {
  std::array<i64, kDimensions> sum{};
  u64 points = 0;
};

// Centres turned round, so that one step works on the same coordinate of all of them.
class Nearest {
 public:
  explicit Nearest(const std::array<Kmeans::Centre, kCentres>& centres) {
    for (u32 c = 0; c < kCentres; ++c) {
      for (u32 d = 0; d < kDimensions; ++d) at_[d][c] = static_cast<float>(centres[c].at[d]);
    }
  }
  u32 to(const Kmeans::Point& point) const {
    std::array<float, kCentres> distance{};
    for (u32 d = 0; d < kDimensions; ++d) {
      const auto x = static_cast<float>(point[d]);
      for (u32 c = 0; c < kCentres; ++c) {
        const float away = x - at_[d][c];
        distance[c] += away * away;
      }
    }
    const auto least = std::min_element(distance.begin(), distance.end());
    return static_cast<u32>(least - distance.begin());
  }

 private:
  std::array<std::array<float, kCentres>, kDimensions> at_;
};

// A centre without points stays where it was.
Kmeans::Centre moved(const Kmeans::Centre& before, const Sums& sums) {
  Kmeans::Centre after{before.at, sums.points};
  for (u32 d = 0; d < kDimensions && sums.points != 0; ++d)
    after.at[d] = static_cast<i32>(sums.sum[d] / static_cast<i64>(sums.points));
  return after;
}

void add(Sums& sums, const Kmeans::Point& point) {
  for (u32 d = 0; d < kDimensions; ++d) sums.sum[d] += point[d];
  ++sums.points;
}

template <typename Centres>
Centres first_centres(std::span<const Kmeans::Point> points) {
  Centres centres;
  for (u32 c = 0; c < kCentres; ++c)
    std::copy_n(points[c].begin(), kDimensions, centres[c].at.begin());
  return centres;
}

// The nearest centre as anyone would write it; of equally near ones, the first.
template <typename Centres>
u32 plainly_nearest(const Centres& centres, const Kmeans::Point& point) {
  u32 best = 0;
  i32 least = std::numeric_limits<i32>::max();
  for (u32 c = 0; c < kCentres; ++c) {
    i32 distance = 0;
    for (u32 d = 0; d < kDimensions; ++d) {
      const i32 away = static_cast<i32>(point[d]) - centres[c].at[d];
      distance += away * away;
    }
    if (distance < least) {
      least = distance;
      best = c;
    }
  }
  return best;
}

}  // namespace

std::vector<Phase> Kmeans::phases() const {
  std::vector<Phase> all;
  for (u32 round = 0; round < size_.rounds; ++round) {
    all.push_back({"map", size_.parts, sizeof(Sums) * kCentres});
    all.push_back({"reduce", kReduceTasks, sizeof(Centre) * kTogether});
  }
  all.push_back({"label", size_.parts, size_.points / size_.parts});
  return all;
}

// Clouds of points round 64 places.
void Kmeans::make_input(std::span<std::byte> input, u64 seed) const {
  Random random(seed);
  std::array<Point, kCentres> places;
  for (Point& place : places) {
    for (u16& x : place) x = static_cast<u16>(128 + random.below(640));
  }
  for (Point& point : values_in<Point>(input)) {
    const Point& place = places[random.below(kCentres)];
    for (u32 d = 0; d < kDimensions; d += 4) {
      const u64 noise = random.next();
      for (u32 i = 0; i < 4; ++i)
        point[d + i] = static_cast<u16>(place[d + i] + ((noise >> (16 * i)) & 255));
    }
  }
}

std::span<const Kmeans::Point> Kmeans::part_of(u32 part, const JobView& job) const {
  const u64 each = size_.points / size_.parts;
  return values_in<Point>(job.input()).subspan(part * each, each);
}

Kmeans::Centres Kmeans::centres_before(u32 round, const JobView& job) const {
  if (round == 0) return first_centres<Centres>(values_in<Point>(job.input()));
  Centres centres;
  for (u32 task = 0; task < kReduceTasks; ++task) {
    const auto some = values_in<Centre>(job.result(2 * round - 1, task));
    std::copy(some.begin(), some.end(), centres.begin() + task * kTogether);
  }
  return centres;
}

u64 Kmeans::run(u32 phase, u32 task, const JobView& job, std::span<std::byte> result) const {
  const u32 round = phase / 2;
  const Centres centres = centres_before(round, job);
  ResultWriter writer(result);
  if (phase % 2 == 1) {
    for (u32 c = task * kTogether; c < (task + 1) * kTogether; ++c) {
      Sums all;
      for (u32 part = 0; part < size_.parts; ++part) {
        const Sums& some = values_in<Sums>(job.result(phase - 1, part))[c];
        for (u32 d = 0; d < kDimensions; ++d) all.sum[d] += some.sum[d];
        all.points += some.points;
      }
      writer.value(moved(centres[c], all));
    }
    return writer.size();
  }
  const Nearest nearest(centres);
  std::array<Sums, kCentres> sums{};
  for (const Point& point : part_of(task, job)) {
    const u32 centre = nearest.to(point);
    if (round == size_.rounds) {
      writer.value(static_cast<u8>(centre));
    } else {
      add(sums[centre], point);
    }
  }
  if (round != size_.rounds) writer.value(sums);
  return writer.size();
}

std::vector<std::byte> Kmeans::output(const JobView& job) const {
  const Centres centres = centres_before(size_.rounds, job);
  const auto bytes = std::as_bytes(std::span(centres));
  std::vector<std::byte> all(bytes.begin(), bytes.end());
  const auto labels = App::output(job);
  all.insert(all.end(), labels.begin(), labels.end());
  return all;
}

Status Kmeans::check(std::span<const std::byte> input, std::span<const std::byte> output) const {
  const auto points = values_in<Point>(input);
  if (output.size() != sizeof(Centres) + points.size())
    return error("kmeans: {} bytes of output", output.size());
  auto centres = first_centres<Centres>(points);
  for (u32 round = 0; round < size_.rounds; ++round) {
    std::array<Sums, kCentres> sums{};
    for (const Point& point : points) add(sums[plainly_nearest(centres, point)], point);
    for (u32 c = 0; c < kCentres; ++c) centres[c] = moved(centres[c], sums[c]);
  }
  const auto got = values_in<Centre>(output.first(sizeof(Centres)));
  for (u32 c = 0; c < kCentres; ++c) {
    if (got[c].at != centres[c].at || got[c].points != centres[c].points)
      return error("kmeans: centre {} is wrong", c);
  }
  for (u64 i = 0; i < points.size(); ++i) {
    if (static_cast<u32>(output[sizeof(Centres) + i]) != plainly_nearest(centres, points[i]))
      return error("kmeans: point {} has another centre", i);
  }
  return {};
}

}  // namespace dvm::mapreduce
