// Word count: how often each word is in a text. Words are runs of the letters a to z.
#pragma once

#include "tools/mapreduce/app.h"

namespace dvm::mapreduce {

// map: counts the words that begin in one split of the text, and hands them on by partition (the
// high bits of the word's hash). reduce: adds up one partition of all splits, in the order of the
// words.
class WordCount : public App {
 public:
  struct Size {
    u64 bytes = 0;       // of text
    u32 splits = 0;      // a divisor of `bytes`
    u32 partitions = 0;  // a power of two
  };
  explicit WordCount(const Size& size) : size_(size) {}

  std::string_view name() const override { return "wordcount"; }
  u64 input_bytes() const override { return size_.bytes; }
  std::vector<Phase> phases() const override;
  void make_input(std::span<std::byte> input, u64 seed) const override;
  u64 run(u32 phase, u32 task, const JobView& job, std::span<std::byte> result) const override;
  Status check(std::span<const std::byte> input, std::span<const std::byte> output) const override;

 private:
  u64 map(std::string_view text, u32 split, std::span<std::byte> result) const;
  u64 reduce(u32 partition, const JobView& job, std::span<std::byte> result) const;
  u32 partition_of(u64 hash) const { return static_cast<u32>(hash >> 40) % size_.partitions; }

  const Size size_;
};

}  // namespace dvm::mapreduce
