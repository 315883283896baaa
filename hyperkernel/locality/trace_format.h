// Recorded observations as a file, so that policies can be compared on what a real guest did.
//
//   TraceHeader | u8 placement[vcpus], zeroes up to a multiple of 8 | Observation[records]
//
// Little-endian. A reader takes the version that it knows and no other. A file is untrusted: all of
// it is checked when it is read, and nothing in it can make the reader take more memory than the
// file is long.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "fabric/result.h"
#include "hyperkernel/locality/observation.h"

namespace dvm::locality {

inline constexpr u64 kTraceMagic = 0x4543'4152'544d'5644;  // "DVMTRACE"
inline constexpr u32 kTraceVersion = 1;
inline constexpr u64 kMaxTraceRecords = 1u << 22;
inline constexpr u64 kMaxTracePages = 1u << 28;  // of RAM: 1 TiB

struct TraceHeader {
  u64 magic;
  u32 version;
  u32 header_bytes;
  u32 nodes;
  u32 vcpus;
  u64 pages;  // of RAM
  u64 records;
  u64 lost;  // observations that came faster than they were recorded
  u32 reserved[3];
  u32 checksum;  // CRC-32C of the file, this field taken as 0
};
static_assert(sizeof(TraceHeader) == 64);

struct Trace {
  u32 nodes = 0;
  u64 pages = 0;
  u64 lost = 0;
  std::vector<u8> placement;      // of each vCPU, at the start
  std::vector<Observation> seen;  // in the order of their times, from 0
};

std::vector<std::byte> encode_trace(const Trace& trace);
// Errors name the field and where it is; `name` is the file's.
Result<Trace> decode_trace(std::span<const std::byte> bytes, const std::string& name);
// Takes out what no trace may hold, puts the rest in order of time and counts time from the first.
void normalise(Trace& trace);

}  // namespace dvm::locality
