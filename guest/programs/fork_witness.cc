// Memory of a guest that is forked: whoever goes on writes at random places of it when a line comes
// on standard input, and has to find what it wrote itself, and what was there before, and nothing
// else.
//   --pages N (10000) --writes N (10000)
#include <sys/random.h>

#include <unordered_map>

#include "common.h"

namespace {

constexpr size_t kWords = 512;  // of a page

uint64_t Before(size_t index) { return index % kWords == 7 ? index * 0x9e3779b97f4a7c15u : 0; }

}  // namespace

int main(int argc, char** argv) {
  const guest::Options options(argc, argv, {"pages", "writes"});
  const auto pages = static_cast<size_t>(options.Number("pages", 10'000));
  const auto writes = static_cast<size_t>(options.Number("writes", 10'000));
  guest::Verdict verdict("fork_witness");
  std::vector<uint64_t> memory(pages * kWords);
  for (size_t i = 0; i < memory.size(); ++i) memory[i] = Before(i);
  std::unordered_map<size_t, uint64_t> mine;
  const auto look = [&](const char* when) {
    for (size_t i = 0; i < memory.size(); ++i) {
      const auto found = mine.find(i);
      const uint64_t expected = found == mine.end() ? Before(i) : found->second;
      if (memory[i] != expected)
        verdict.Fail("page %zu word %zu, %s", i / kWords, i % kWords, when);
    }
  };
  printf("fork_witness: ready\n");
  for (char line[80]; fgets(line, sizeof line, stdin) != nullptr;) {
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed) verdict.Fail("getrandom");
    look("before it was written");
    guest::Rng random(seed);
    for (size_t i = 0; i < writes; ++i) {
      const size_t at = random.Below(memory.size());
      mine[at] = memory[at] = random.Next();
    }
    look("at once");
    sleep(5);  // the others write
    look("later");
    verdict.Finish(guest::Format("%zu writes", mine.size()));
  }
  return verdict.ok() ? 0 : 1;
}
