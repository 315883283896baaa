#include "tools/mapreduce/apps/word_list.h"

namespace dvm::mapreduce {

u64 word_hash(std::string_view word) {
  u64 hash = 0xcbf29ce484222325ull;  // FNV-1a, 64 bit
  for (const char c : word) hash = (hash ^ static_cast<u8>(c)) * 0x100000001b3ull;
  return hash;
}

CountedWord& WordTable::slot_of(std::string_view word, u64 hash) {
  const std::size_t mask = slots_.size() - 1;
  // The high bits choose a partition, so the table uses others.
  std::size_t at = hash & mask;
  while (slots_[at].count != 0 && (slots_[at].hash != hash || slots_[at].word != word))
    at = (at + 1) & mask;
  return slots_[at];
}

void WordTable::add(std::string_view word, u64 hash, u64 count) {
  CountedWord& slot = slot_of(word, hash);
  if (slot.count != 0) {
    slot.count += count;
    return;
  }
  slot = {word, hash, count};
  if (++used_ * 2 > slots_.size()) grow();
}

void WordTable::grow() {
  const std::vector<CountedWord> words = take();
  slots_.assign(slots_.size() * 2, {});
  for (const CountedWord& w : words) slot_of(w.word, w.hash) = w;
}

std::vector<CountedWord> WordTable::take() const {
  std::vector<CountedWord> words;
  words.reserve(used_);
  for (const CountedWord& slot : slots_) {
    if (slot.count != 0) words.push_back(slot);
  }
  return words;
}

void write_word(ResultWriter& to, const CountedWord& word) {
  to.value(static_cast<u32>(word.count));
  to.value(static_cast<u32>(word.word.size()));
  to.append(word.word);
}

std::vector<CountedWord> read_words(std::span<const std::byte> bytes) {
  constexpr std::size_t kHead = 2 * sizeof(u32);
  std::vector<CountedWord> words;
  while (bytes.size() >= kHead) {
    u32 count = 0, length = 0;
    std::memcpy(&count, bytes.data(), sizeof(count));
    std::memcpy(&length, bytes.data() + sizeof(count), sizeof(length));
    if (length > bytes.size() - kHead) break;
    const std::string_view word(reinterpret_cast<const char*>(bytes.data()) + kHead, length);
    words.push_back({word, word_hash(word), count});
    bytes = bytes.subspan(kHead + length);
  }
  return words;
}

}  // namespace dvm::mapreduce
