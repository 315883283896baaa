#include "srt/warm_list.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "fabric/crc32c.h"
#include "srt/block_sum.h"

namespace dvm::srt {
namespace {

constexpr std::string_view kTitle = "dvm-warm-list ", kVersion = "1";
constexpr std::string_view kSum = "sum ";
constexpr std::size_t kSumDigits = 8, kEnd = kSum.size() + kSumDigits + 1;
constexpr std::size_t kMostPath = 4096;

u32 sum_of(std::string_view text) { return fabric::crc32c(std::as_bytes(std::span(text))); }

bool needs_escape(char c) { return c == '%' || static_cast<unsigned char>(c) < ' ' || c == 127; }

std::string escaped(const std::string& path) {
  std::string text;
  for (const char c : path)
    text += needs_escape(c) ? fmt::format("%{:02x}", static_cast<u8>(c)) : std::string(1, c);
  return text;
}

// All of the text is that number.
template <typename T>
bool read_number(std::string_view text, T& to, int base = 10) {
  const char* const end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data(), end, to, base);
  return failure == std::errc{} && rest == end;
}

std::optional<std::string> unescaped(std::string_view text) {
  std::string path;
  for (std::size_t i = 0; i < text.size(); ++i) {
    u8 byte = static_cast<u8>(text[i]);
    if (text[i] == '%') {
      if (text.size() - i < 3 || !read_number(text.substr(i + 1, 2), byte, 16) || byte == 0)
        return std::nullopt;
      i += 2;
    } else if (needs_escape(text[i])) {
      return std::nullopt;
    }
    path += static_cast<char>(byte);
  }
  return path;
}

// Up to the separator, which goes too.
std::string_view cut_off(std::string_view& text, char separator) {
  const std::string_view first = text.substr(0, text.find(separator));
  text.remove_prefix(std::min(first.size() + 1, text.size()));
  return first;
}

bool read_disk(std::string_view words, WarmList& list) {
  WarmDisk disk;
  if (!read_number(cut_off(words, ' '), disk.bytes)) return false;
  auto path = unescaped(words);
  if (!path || path->empty() || path->size() > kMostPath) return false;
  disk.path = std::move(*path);
  list.disks.push_back(std::move(disk));
  return list.disks.size() <= kMostWarmDisks && list.disks.back().bytes <= u64{INT64_MAX};
}

bool read_run(std::string_view words, WarmList& list) {
  BlockRun run;
  if (!read_number(cut_off(words, ' '), run.disk) || !read_number(cut_off(words, ' '), run.first) ||
      !read_number(words, run.blocks) || run.disk >= list.disks.size() || run.blocks == 0)
    return false;
  const u64 blocks = std::min(list.disks[run.disk].bytes / kBlockBytes, BlockKey::kMaxBlock);
  if (run.first >= blocks || run.blocks > blocks - run.first) return false;
  list.runs.push_back(run);
  return true;
}

bool read_line(std::string_view line, WarmList& list) {
  const std::string_view what = cut_off(line, ' ');
  if (what == "disk") return read_disk(line, list);
  return what == "run" && read_run(line, list);
}

// The text before its sum, which is right.
Result<std::string_view> summed(std::string_view text) {
  if (text.size() > kMostWarmBytes) return error("longer than {} MiB", kMostWarmBytes / kMiB);
  if (!text.starts_with(kTitle)) return error("not a list of blocks of dvm-run");
  const std::string_view title = text.substr(0, text.find('\n'));
  if (title.substr(kTitle.size()) != kVersion) {
    return error("a list of another version (found '{}'; allowed: {})",
                 escaped(std::string(title.substr(kTitle.size(), 20))), kVersion);
  }
  u32 sum = 0;
  const std::string_view end = text.substr(text.size() - std::min(kEnd, text.size()));
  if (!end.starts_with(kSum) || !end.ends_with('\n') ||
      !read_number(end.substr(kSum.size(), kSumDigits), sum, 16))
    return error("cut off");
  text.remove_suffix(kEnd);
  if (sum != sum_of(text)) return error("damaged (its checksum is another one)");
  return text;
}

}  // namespace

std::string warm_text(const WarmList& list) {
  std::string text = fmt::format("{}{}\n", kTitle, kVersion);
  for (const WarmDisk& disk : list.disks)
    text += fmt::format("disk {} {}\n", disk.bytes, escaped(disk.path));
  for (const BlockRun& run : list.runs) {
    const std::string line = fmt::format("run {} {} {}\n", run.disk, run.first, run.blocks);
    if (text.size() + line.size() + kEnd > kMostWarmBytes) break;
    text += line;
  }
  return text + fmt::format("{}{:08x}\n", kSum, sum_of(text));
}

Result<WarmList> parse_warm_list(std::string_view text) {
  DVM_ASSIGN(std::string_view lines, summed(text));
  WarmList list;
  cut_off(lines, '\n');
  for (u64 number = 2; !lines.empty(); ++number) {
    if (!read_line(cut_off(lines, '\n'), list)) return error("line {} is wrong", number);
  }
  return list;
}

}  // namespace dvm::srt
