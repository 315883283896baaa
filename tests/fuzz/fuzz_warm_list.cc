// Threat: a list of the blocks that a guest wants with anything in it. It is refused with one line,
// or every run in it lies within a disk that is listed, and it reads the same when written again.
//
// Input: the list's text up to its sum; a leading byte says whether the right sum is put behind it.
#include "fabric/crc32c.h"
#include "srt/block_sum.h"
#include "srt/warm_list.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dvm;
  if (size == 0) return 0;
  std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  if (data[0] != 0)
    text += fmt::format("sum {:08x}\n", fabric::crc32c(std::as_bytes(std::span(text))));
  const auto list = srt::parse_warm_list(text);
  if (!list.ok()) {
    FUZZ_CHECK(!list.error().message.empty());
    FUZZ_CHECK(list.error().message.find('\n') == std::string::npos);
    return 0;
  }
  FUZZ_CHECK(list->disks.size() <= srt::kMostWarmDisks);
  for (const srt::BlockRun& run : list->runs) {
    FUZZ_CHECK(run.disk < list->disks.size() && run.blocks != 0);
    const u64 blocks = list->disks[run.disk].bytes / srt::kBlockBytes;
    FUZZ_CHECK(run.first < blocks && run.blocks <= blocks - run.first);
  }
  const auto again = srt::parse_warm_list(srt::warm_text(*list));
  FUZZ_CHECK(again.ok() && *again == *list);
  return 0;
}
