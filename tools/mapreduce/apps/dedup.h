// Dedup in the manner of PARSEC: the input is cut into chunks by content, each content is packed
// once, and an archive is made in the order of the input.
#pragma once

#include "tools/mapreduce/app.h"

namespace dvm::mapreduce {

// chunk (map): cuts one segment and tells the table where each content occurs. pack (reduce): with
// the table complete, the chunk that is its content's first one is packed, and every other one is
// named by the first's position. The results in the order of the segments are the archive.
class Dedup : public App {
 public:
  struct Size {
    u64 bytes = 0;
    u64 segment = 0;  // a divisor of `bytes`
  };
  explicit Dedup(const Size& size) : size_(size) {}

  std::string_view name() const override { return "dedup"; }
  u64 input_bytes() const override { return size_.bytes; }
  u64 table_bytes() const override;
  std::vector<Phase> phases() const override;
  void make_input(std::span<std::byte> input, u64 seed) const override;
  u64 run(u32 phase, u32 task, const JobView& job, std::span<std::byte> result) const override;
  // The archive gives back the input, and no content stands in it twice.
  Status check(std::span<const std::byte> input, std::span<const std::byte> output) const override;

 private:
  u64 cut(u32 segment, const JobView& job, std::span<std::byte> result) const;
  u64 pack_segment(u32 segment, const JobView& job, std::span<std::byte> result) const;
  u64 most_chunks() const;  // of a segment

  const Size size_;
};

}  // namespace dvm::mapreduce
