// Threat: a trace file with anything in it. It is refused with one line, or all in it is in its
// range, and it can be written again as it was.
//
// Input: the header's fields, vCPUs' nodes and records as they are in the file; a first byte that
// is odd puts magic, sizes and checksum right, so that what lies behind them is reached.
#include <cstddef>

#include "fabric/crc32c.h"
#include "hyperkernel/locality/trace_format.h"
#include "tests/fuzz/input.h"

using namespace dvm;
using locality::TraceHeader;

namespace {

void put_right(std::vector<std::byte>& bytes) {
  if (bytes.size() < sizeof(TraceHeader)) return;
  TraceHeader h;
  std::memcpy(&h, bytes.data(), sizeof h);
  h.magic = locality::kTraceMagic;
  h.version = locality::kTraceVersion;
  h.header_bytes = sizeof h;
  h.vcpus = h.vcpus % 16 + 1;
  const u64 at = sizeof h + align_up(h.vcpus, 8);
  if (bytes.size() < at) return;
  h.records = (bytes.size() - at) / sizeof(locality::Observation);
  bytes.resize(at + h.records * sizeof(locality::Observation));
  h.checksum = 0;
  std::memcpy(bytes.data(), &h, sizeof h);
  h.checksum = fabric::crc32c(bytes);
  std::memcpy(bytes.data(), &h, sizeof h);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto file = std::as_bytes(std::span(data + 1, size - 1));
  std::vector<std::byte> bytes(file.begin(), file.end());
  if ((data[0] & 1) != 0) put_right(bytes);
  const auto trace = locality::decode_trace(bytes, "fuzz");
  if (!trace.ok()) {
    FUZZ_CHECK(!trace.error().message.empty());
    FUZZ_CHECK(trace.error().kind == ErrorKind::usage);
    return 0;
  }
  FUZZ_CHECK(trace->nodes >= 1 && trace->nodes <= locality::kMaxNodes);
  FUZZ_CHECK(!trace->placement.empty() && trace->placement.size() <= locality::kMaxVcpus);
  u64 before = 0;
  for (const auto& o : trace->seen) {
    FUZZ_CHECK(o.time_ns >= before && o.page < trace->pages && o.node < trace->nodes);
    before = o.time_ns;
  }
  auto again = *trace;
  const auto written = locality::encode_trace(again);
  const auto twice = locality::decode_trace(written, "written");
  FUZZ_CHECK(twice.ok() && twice->seen == trace->seen && twice->placement == trace->placement);
  locality::normalise(again);
  FUZZ_CHECK(again.seen.size() == trace->seen.size());
  return 0;
}
