#include "hyperkernel/locality/trace_format.h"

#include <algorithm>
#include <cstring>

#include "fabric/crc32c.h"

namespace dvm::locality {
namespace {

u64 records_at(u32 vcpus) { return sizeof(TraceHeader) + align_up(vcpus, 8); }

u32 checksum_of(std::span<const std::byte> bytes) {
  TraceHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  header.checksum = 0;
  const u32 sum = fabric::crc32c(std::as_bytes(std::span(&header, 1)));
  return fabric::crc32c(bytes.subspan(sizeof header), sum);
}

// What is wrong with it, or nothing.
const char* wrong_with(const Observation& o, const Trace& t) {
  if (o.page >= t.pages) return "page";
  if (o.node >= t.nodes) return "node";
  if (o.from >= t.nodes && o.from < kCopies) return "from";
  if (o.vcpu >= t.placement.size() && o.vcpu != kNoVcpu) return "vcpu";
  if (static_cast<u32>(o.kind) >= kSeenKinds) return "kind";
  if ((o.reserved[0] | o.reserved[1] | o.reserved[2]) != 0) return "reserved";
  return nullptr;
}

Status check_header(const TraceHeader& h, u64 bytes, const std::string& name) {
  if (h.magic != kTraceMagic) return usage_error("{}: not a trace of dvm (no magic)", name);
  if (h.version != kTraceVersion) {
    return usage_error("{}: trace of version {}, this dvm reads version {}", name, h.version,
                       kTraceVersion);
  }
  if (h.header_bytes != sizeof(TraceHeader))
    return usage_error("{}: header of {} bytes, expected {}", name, h.header_bytes, sizeof h);
  if (h.nodes == 0 || h.nodes > kMaxNodes || h.vcpus == 0 || h.vcpus > kMaxVcpus || h.pages == 0 ||
      h.pages > kMaxTracePages || h.records > kMaxTraceRecords) {
    return usage_error("{}: {} nodes, {} vCPUs, {} pages or {} records are out of range", name,
                       h.nodes, h.vcpus, h.pages, h.records);
  }
  const u64 expected = records_at(h.vcpus) + h.records * sizeof(Observation);
  if (bytes != expected)
    return usage_error("{}: {} bytes, its header says {}", name, bytes, expected);
  return {};
}

Status check_content(const Trace& t, std::span<const std::byte> padding, const std::string& name) {
  for (std::size_t v = 0; v < t.placement.size(); ++v) {
    if (t.placement[v] >= t.nodes)
      return usage_error("{}: vCPU {} is on node {} of {}", name, v, t.placement[v], t.nodes);
  }
  if (std::any_of(padding.begin(), padding.end(), [](std::byte b) { return b != std::byte{0}; }))
    return usage_error("{}: something is where nothing may be, behind the placement", name);
  u64 time = 0;
  for (std::size_t i = 0; i < t.seen.size(); ++i) {
    const char* wrong = t.seen[i].time_ns < time ? "time_ns" : wrong_with(t.seen[i], t);
    if (wrong != nullptr) return usage_error("{}: record {}: {} is out of range", name, i, wrong);
    time = t.seen[i].time_ns;
  }
  return {};
}

}  // namespace

std::vector<std::byte> encode_trace(const Trace& t) {
  const u32 vcpus = static_cast<u32>(t.placement.size());
  const u64 at = records_at(vcpus);
  std::vector<std::byte> bytes(at + t.seen.size() * sizeof(Observation));
  TraceHeader h{.magic = kTraceMagic,
                .version = kTraceVersion,
                .header_bytes = sizeof(TraceHeader),
                .nodes = t.nodes,
                .vcpus = vcpus,
                .pages = t.pages,
                .records = t.seen.size(),
                .lost = t.lost,
                .reserved = {},
                .checksum = 0};
  std::memcpy(bytes.data(), &h, sizeof h);
  if (vcpus != 0) std::memcpy(bytes.data() + sizeof h, t.placement.data(), vcpus);
  if (!t.seen.empty())
    std::memcpy(bytes.data() + at, t.seen.data(), t.seen.size() * sizeof(Observation));
  h.checksum = checksum_of(bytes);
  std::memcpy(bytes.data(), &h, sizeof h);
  return bytes;
}

Result<Trace> decode_trace(std::span<const std::byte> bytes, const std::string& name) {
  if (bytes.size() < sizeof(TraceHeader))
    return usage_error("{}: {} bytes are no trace of dvm", name, bytes.size());
  TraceHeader h;
  std::memcpy(&h, bytes.data(), sizeof h);
  DVM_TRY(check_header(h, bytes.size(), name));
  if (const u32 sum = checksum_of(bytes); h.checksum != sum) {
    return usage_error("{}: checksum {:#010x}, computed {:#010x}: it is damaged", name, h.checksum,
                       sum);
  }
  Trace t{.nodes = h.nodes, .pages = h.pages, .lost = h.lost, .placement = {}, .seen = {}};
  t.placement.resize(h.vcpus);
  std::memcpy(t.placement.data(), bytes.data() + sizeof h, h.vcpus);
  t.seen.resize(h.records);
  const u64 at = records_at(h.vcpus);
  if (h.records != 0)
    std::memcpy(t.seen.data(), bytes.data() + at, h.records * sizeof(Observation));
  DVM_TRY(check_content(t, bytes.subspan(sizeof h + h.vcpus, at - sizeof h - h.vcpus), name));
  return t;
}

void normalise(Trace& t) {
  std::erase_if(t.seen, [&t](const Observation& o) { return wrong_with(o, t) != nullptr; });
  std::stable_sort(t.seen.begin(), t.seen.end(), [](const Observation& a, const Observation& b) {
    return a.time_ns < b.time_ns;
  });
  const u64 first = t.seen.empty() ? 0 : t.seen.front().time_ns;
  for (Observation& o : t.seen) o.time_ns -= first;
  if (t.seen.size() > kMaxTraceRecords) {
    t.lost += t.seen.size() - kMaxTraceRecords;
    t.seen.resize(kMaxTraceRecords);
  }
}

}  // namespace dvm::locality
