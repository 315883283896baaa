// Words with counts: a hash table to count in, and the form in which tasks hand them on.
#pragma once

#include <string_view>
#include <vector>

#include "tools/mapreduce/result_writer.h"

namespace dvm::mapreduce {

constexpr bool is_letter(char c) { return c >= 'a' && c <= 'z'; }

struct CountedWord {
  std::string_view word;  // into the input or a result
  u64 hash = 0;
  u64 count = 0;
};

u64 word_hash(std::string_view word);

// Counts words. Its order depends on nothing but the words and their order.
class WordTable {
 public:
  WordTable() : slots_(kFirstSlots) {}
  void add(std::string_view word, u64 hash, u64 count);
  // In an unspecified order.
  std::vector<CountedWord> take() const;

 private:
  static constexpr std::size_t kFirstSlots = 1u << 12;
  CountedWord& slot_of(std::string_view word, u64 hash);
  void grow();
  std::vector<CountedWord> slots_;  // a power of two; count 0: empty
  std::size_t used_ = 0;
};

// One word as it is handed on: count, length (u32 each), letters.
void write_word(ResultWriter& to, const CountedWord& word);
// Reads words until the bytes end; a last one that is not whole is left out.
std::vector<CountedWord> read_words(std::span<const std::byte> bytes);

}  // namespace dvm::mapreduce
