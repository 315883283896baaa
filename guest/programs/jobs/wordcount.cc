// How often each word stands in a text. Each worker counts in a table of its own, by the word's
// hash; then each part of the hashes is summed up over all tables.
#include <string_view>
#include <unordered_map>

#include "jobs.h"

namespace jobs {
namespace {

constexpr size_t kTextBytes = 15'000'000, kVocabulary = 2000, kPieces = 96;
constexpr size_t kParts = 16, kSlots = 512;  // of a part in a table

struct Count {
  uint64_t hash = 0;  // 0: a free slot
  uint64_t count = 0;
};
size_t PartOfHash(uint64_t hash) { return hash >> 60; }
static_assert(kParts == 16);

// Short words are frequent ones, as in a language.
std::vector<uint8_t> MakeText() {
  guest::Rng rng(1);
  std::vector<std::string> words(kVocabulary);
  for (size_t i = 0; i < words.size(); i++) {
    for (size_t length = 2 + rng.Below(3) + i / 300; length > 0; length--)
      words[i] += static_cast<char>('a' + rng.Below(26));
  }
  std::vector<uint8_t> text;
  while (text.size() < kTextBytes) {
    const std::string& word = words[rng.Below(1 + rng.Below(kVocabulary))];
    text.insert(text.end(), word.begin(), word.end());
    text.push_back(rng.Below(12) == 0 ? '\n' : ' ');
  }
  return text;
}

bool IsLetter(uint8_t byte) { return byte > ' '; }

class WordCount : public Job {
 public:
  WordCount() : text_(MakeText()) {
    std::unordered_map<std::string_view, uint64_t> counts;
    const std::string_view all(reinterpret_cast<const char*>(text_.data()), text_.size());
    for (size_t at = 0; at < all.size();) {
      const size_t end = all.find_first_of(" \n", at);
      if (end > at) counts[all.substr(at, end - at)]++;
      at = end + 1;
    }
    for (const auto& [word, count] : counts) {
      uint64_t hash = kHashBegin;
      for (char c : word) hash = HashStep(hash, static_cast<uint8_t>(c));
      expected_.push_back({hash, count});
    }
    Order(expected_);
  }

  void Repeat(Crew& crew) override {
    tables_.assign(crew.workers(), std::vector<Count>(kParts * kSlots));
    crew.Run(kPieces, [&](size_t piece, size_t worker) { CountWords(piece, tables_[worker]); });
    std::vector<std::vector<Count>> parts(kParts);
    crew.Run(kParts, [&](size_t part, size_t) { parts[part] = SumUp(part); });
    result_.clear();
    for (const auto& part : parts) result_.insert(result_.end(), part.begin(), part.end());
  }
  std::span<uint8_t> Input() override { return text_; }
  std::span<uint8_t> Result() override { return Bytes(result_); }
  std::span<const uint8_t> Expected() const override { return Bytes(expected_); }

 private:
  static void Order(std::vector<Count>& counts) {
    std::sort(counts.begin(), counts.end(),
              [](const Count& a, const Count& b) { return a.hash < b.hash; });
  }

  // A word belongs to the piece in which it begins.
  void CountWords(size_t piece, std::vector<Count>& table) const {
    const Part part = PartOf(text_.size(), kPieces, piece);
    size_t at = part.begin;
    while (at > 0 && at < part.end && IsLetter(text_[at - 1])) at++;
    while (at < part.end) {
      uint64_t hash = kHashBegin;
      const size_t begin = at;
      for (; at < text_.size() && IsLetter(text_[at]); at++) hash = HashStep(hash, text_[at]);
      if (at > begin) Add(table, hash, 1);
      at++;
    }
  }
  // A full part of a table: more words than there can be, so the text is damaged. Then the rest is
  // left out, and the result is wrong.
  static void Add(std::vector<Count>& table, uint64_t hash, uint64_t count) {
    Count* const part = &table[PartOfHash(hash) * kSlots];
    for (size_t probe = 0; probe < kSlots; probe++) {
      Count& slot = part[(hash + probe) % kSlots];
      if (slot.hash != 0 && slot.hash != hash) continue;
      slot.hash = hash;
      slot.count += count;
      return;
    }
  }
  std::vector<Count> SumUp(size_t part) const {
    std::vector<Count> sum(kParts * kSlots);
    for (const auto& table : tables_) {
      for (size_t i = part * kSlots; i < (part + 1) * kSlots; i++) {
        if (table[i].hash != 0) Add(sum, table[i].hash, table[i].count);
      }
    }
    std::erase_if(sum, [](const Count& c) { return c.hash == 0; });
    Order(sum);
    return sum;
  }

  std::vector<uint8_t> text_;
  std::vector<std::vector<Count>> tables_;
  std::vector<Count> result_, expected_;
};

}  // namespace

std::unique_ptr<Job> MakeWordCount() { return std::make_unique<WordCount>(); }

}  // namespace jobs
