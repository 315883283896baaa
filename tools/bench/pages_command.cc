#include "tools/bench/pages_command.h"

#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/bench/pages_bench.h"

namespace dvm::tools {
namespace {

constexpr const char* kHelp =
    "usage: dvm-bench pages [--json] [--rounds N] [--memory MIB]\n"
    "Measures software coherence between two nodes, without a guest: how long a page takes to\n"
    "change hands beside a futex ping-pong and a copy of 4 KiB, reads of replicated pages, a walk\n"
    "over another node's memory beside memcpy into fresh memory, eviction, and writes to what a\n"
    "node has copies of while that node hangs.\n"
    "  --json        machine-readable, on stdout\n"
    "  --rounds N    of everything, 1 to 1000 (9)\n"
    "  --memory MIB  that changes hands in each round, 4 to 4096 (16)\n";

struct PagesOptions {
  bool help = false, as_json = false;
  bench::PagesSettings settings;
};

Result<u64> number(const std::string& name, const std::string& word, u64 least, u64 most) {
  u64 n = 0;
  const auto [end, failed] = std::from_chars(word.data(), word.data() + word.size(), n);
  if (failed != std::errc() || end != word.data() + word.size() || n < least || n > most)
    return usage_error("{} {}: {} to {}", name, word, least, most);
  return n;
}

Result<PagesOptions> parse(const std::vector<std::string>& words) {
  PagesOptions o;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const bool has_value = i + 1 < words.size();
    if (word == "--help") {
      o.help = true;
    } else if (word == "--json") {
      o.as_json = true;
    } else if (word == "--rounds" && has_value) {
      DVM_ASSIGN(const u64 n, number(word, words[++i], 1, 1000));
      o.settings.rounds = static_cast<u32>(n);
    } else if (word == "--memory" && has_value) {
      DVM_ASSIGN(const u64 n, number(word, words[++i], 4, 4096));
      o.settings.pages = n * kMiB / kPageBytes;
    } else {
      return usage_error("dvm-bench pages: unknown word {}, or its value is missing", word);
    }
  }
  return o;
}

}  // namespace

Status bench_pages(const std::vector<std::string>& words) {
  DVM_ASSIGN(const PagesOptions options, parse(words));
  std::string text = kHelp;
  if (!options.help) {
    BenchReport report = report_here();
    DVM_ASSIGN(report.results, bench::measure_pages(options.settings));
    text = options.as_json ? report_json(report).dump() + "\n" : report_text(report);
  }
  if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0)
    return sys_error("write stdout");
  return {};
}

}  // namespace dvm::tools
