// The jobs of job_work: each computes something over pieces, as MapReduce programs do, and knows
// from another way of computing it what must come out.
#pragma once

#include <memory>
#include <span>

#include "crew.h"

namespace jobs {

class Job {
 public:
  virtual ~Job() = default;

  // All of it once more; what was there before is overwritten. The same input gives the same bytes,
  // whoever of the crew does which piece.
  virtual void Repeat(Crew& crew) = 0;

  // What it computes from, what the last repeat left, and what must have come out: made when the
  // job was, by one thread.
  virtual std::span<uint8_t> Input() = 0;
  virtual std::span<uint8_t> Result() = 0;
  virtual std::span<const uint8_t> Expected() const = 0;
};

// By name; null: there is none of that name.
std::unique_ptr<Job> Make(const std::string& name);
inline constexpr const char* kNames[] = {"wordcount", "kmeans",       "matrix",
                                         "histogram", "blackscholes", "dedup"};

std::unique_ptr<Job> MakeWordCount();
std::unique_ptr<Job> MakeKMeans();
std::unique_ptr<Job> MakeMatrix();
std::unique_ptr<Job> MakeHistogram();
std::unique_ptr<Job> MakeBlackScholes();
std::unique_ptr<Job> MakeDedup();

// The bytes of a vector, for the three above.
template <typename T>
std::span<uint8_t> Bytes(std::vector<T>& values) {
  return {reinterpret_cast<uint8_t*>(values.data()), values.size() * sizeof(T)};
}
template <typename T>
std::span<const uint8_t> Bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(T)};
}

// A part of 0 to size, one of `pieces`.
struct Part {
  size_t begin, end;
};
inline Part PartOf(size_t size, size_t pieces, size_t piece) {
  return {size * piece / pieces, size * (piece + 1) / pieces};
}

inline constexpr uint64_t kHashBegin = 0xcbf29ce484222325u;
inline uint64_t HashStep(uint64_t hash, uint8_t byte) { return (hash ^ byte) * 0x100000001b3u; }

}  // namespace jobs
