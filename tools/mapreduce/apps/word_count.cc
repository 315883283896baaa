#include "tools/mapreduce/apps/word_count.h"

#include <algorithm>
#include <string>
#include <unordered_map>

#include "tools/mapreduce/apps/word_list.h"
#include "tools/mapreduce/job_view.h"
#include "tools/mapreduce/random.h"

namespace dvm::mapreduce {
namespace {

constexpr u32 kVocabulary = 50'000;

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::string> make_vocabulary(Random& random) {
  std::vector<std::string> words(kVocabulary);
  for (std::string& word : words) {
    word.resize(2 + random.below(10));
    for (char& c : word) c = static_cast<char>('a' + random.below(26));
  }
  return words;
}

}  // namespace

std::vector<Phase> WordCount::phases() const {
  const u64 split = size_.bytes / size_.splits;
  // A word of n letters takes n + 1 bytes of text and n + 8 of a list.
  return {{"map", size_.splits, 5 * split + 4 * (u64{size_.partitions} + 1)},
          {"reduce", size_.partitions, 8 * size_.bytes / size_.partitions + 64 * kKiB}};
}

// Common words are common: a word's rank goes with the cube of an even number.
void WordCount::make_input(std::span<std::byte> input, u64 seed) const {
  Random random(seed);
  const auto words = make_vocabulary(random);
  std::size_t at = 0;
  while (at < input.size()) {
    const double u = random.unit();
    const std::string& word = words[static_cast<std::size_t>(u * u * u * kVocabulary)];
    const std::size_t letters = std::min(word.size(), input.size() - at);
    std::memcpy(input.data() + at, word.data(), letters);
    at += letters;
    if (at == input.size()) break;
    input[at] = static_cast<std::byte>(at % 61 == 0 ? '\n' : ' ');
    ++at;
  }
}

u64 WordCount::run(u32 phase, u32 task, const JobView& job, std::span<std::byte> result) const {
  return phase == 0 ? map(text_of(job.input()), task, result) : reduce(task, job, result);
}

// The list begins with the offsets of the partitions' parts, and the end's.
u64 WordCount::map(std::string_view text, u32 split, std::span<std::byte> result) const {
  const u64 bytes = size_.bytes / size_.splits;
  u64 at = split * bytes;
  const u64 end = at + bytes;
  if (at != 0 && is_letter(text[at - 1])) {  // the split before has that word
    while (at < end && is_letter(text[at])) ++at;
  }
  WordTable table;
  while (at < end) {
    if (!is_letter(text[at])) {
      ++at;
      continue;
    }
    const u64 begin = at;
    while (at < text.size() && is_letter(text[at])) ++at;
    const std::string_view word = text.substr(begin, at - begin);
    table.add(word, word_hash(word), 1);
  }
  std::vector<std::vector<CountedWord>> parts(size_.partitions);
  for (const CountedWord& w : table.take()) parts[partition_of(w.hash)].push_back(w);
  std::vector<u32> offsets;
  u64 offset = 4 * (u64{size_.partitions} + 1);
  for (const auto& part : parts) {
    offsets.push_back(static_cast<u32>(offset));
    for (const CountedWord& w : part) offset += 2 * sizeof(u32) + w.word.size();
  }
  offsets.push_back(static_cast<u32>(offset));
  ResultWriter writer(result);
  writer.values(std::span<const u32>(offsets));
  for (const auto& part : parts) {
    for (const CountedWord& w : part) write_word(writer, w);
  }
  return writer.size();
}

u64 WordCount::reduce(u32 partition, const JobView& job, std::span<std::byte> result) const {
  WordTable table;
  for (u32 split = 0; split < size_.splits; ++split) {
    const auto list = job.result(0, split);
    const auto offsets = values_in<u32>(list);
    const u64 from = offsets[partition], to = offsets[partition + 1];
    for (const CountedWord& w : read_words(list.subspan(from, to - from)))
      table.add(w.word, w.hash, w.count);
  }
  auto words = table.take();
  std::sort(words.begin(), words.end(),
            [](const CountedWord& a, const CountedWord& b) { return a.word < b.word; });
  ResultWriter writer(result);
  for (const CountedWord& w : words) write_word(writer, w);
  return writer.size();
}

Status WordCount::check(std::span<const std::byte> input, std::span<const std::byte> output) const {
  std::unordered_map<std::string_view, u64> counts;
  const std::string_view text = text_of(input);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    while (at < text.size() && is_letter(text[at])) ++at;
    if (at != begin) ++counts[text.substr(begin, at - begin)];
    ++at;
  }
  const auto words = read_words(output);
  for (const CountedWord& w : words) {
    const auto found = counts.find(w.word);
    if (found == counts.end() || found->second != w.count)
      return error("wordcount: {} is counted {} times", w.word, w.count);
  }
  if (words.size() != counts.size())
    return error("wordcount: {} words are listed of {}", words.size(), counts.size());
  return {};
}

}  // namespace dvm::mapreduce
