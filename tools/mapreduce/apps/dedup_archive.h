// An archive in which each content stands once: a row of records, in the order of the input.
#pragma once

#include <span>
#include <vector>

#include "fabric/result.h"
#include "tools/mapreduce/result_writer.h"

namespace dvm::mapreduce {

// A record is {kind u32, length u32 of what it stands for}, then by kind:
//   plain    the bytes
//   packed   {packed length u32}, a packed chunk (compressor.h)
//   again    {position u64}: the bytes that begin there in the unpacked whole
enum class RecordKind : u32 { plain = 1, packed = 2, again = 3 };

// The most that a record for `bytes` bytes takes: one that does not shrink is written plain.
constexpr u64 most_record_bytes(u64 bytes) { return bytes + 2 * sizeof(u32) + sizeof(u64); }

void write_content(ResultWriter& to, std::span<const std::byte> content);
void write_again(ResultWriter& to, u64 length, u64 position);

// The whole that an archive stands for. Error: where it is broken.
Result<std::vector<std::byte>> read_archive(std::span<const std::byte> archive);

}  // namespace dvm::mapreduce
