#include "tools/mapreduce/apps/dedup_archive.h"

#include "tools/mapreduce/apps/compressor.h"

namespace dvm::mapreduce {
namespace {

void write_head(ResultWriter& to, RecordKind kind, u64 length) {
  to.value(kind);
  to.value(static_cast<u32>(length));
}

// Takes a value off the front. False: there are too few bytes.
template <typename T>
bool take(std::span<const std::byte>& from, T& value) {
  if (from.size() < sizeof(T)) return false;
  std::memcpy(&value, from.data(), sizeof(T));
  from = from.subspan(sizeof(T));
  return true;
}

Status read_record(RecordKind kind, u64 length, std::span<const std::byte>& rest,
                   std::vector<std::byte>& whole) {
  if (kind == RecordKind::again) {
    u64 position = 0;
    if (!take(rest, position) || length > whole.size() || position > whole.size() - length)
      return error("it names what does not come before it");
    for (u64 i = 0; i < length; ++i) whole.push_back(whole[position + i]);
    return {};
  }
  u32 stored = static_cast<u32>(length);
  const bool is_packed = kind == RecordKind::packed;
  if (!is_packed && kind != RecordKind::plain)
    return error("kind {} is not known", static_cast<u32>(kind));
  if ((is_packed && !take(rest, stored)) || stored > rest.size()) return error("it is cut off");
  const auto content = rest.first(stored);
  rest = rest.subspan(stored);
  if (is_packed) return unpack(content, length, whole);
  whole.insert(whole.end(), content.begin(), content.end());
  return {};
}

}  // namespace

void write_content(ResultWriter& to, std::span<const std::byte> content) {
  const auto packed = pack(content);
  if (packed.size() + sizeof(u32) >= content.size()) {
    write_head(to, RecordKind::plain, content.size());
    to.append(content);
    return;
  }
  write_head(to, RecordKind::packed, content.size());
  to.value(static_cast<u32>(packed.size()));
  to.append(packed);
}

void write_again(ResultWriter& to, u64 length, u64 position) {
  write_head(to, RecordKind::again, length);
  to.value(position);
}

Result<std::vector<std::byte>> read_archive(std::span<const std::byte> archive) {
  std::vector<std::byte> whole;
  for (auto rest = archive; !rest.empty();) {
    const u64 at = archive.size() - rest.size();
    RecordKind kind{};
    u32 length = 0;
    if (!take(rest, kind) || !take(rest, length))
      return error("archive: the record at {} is cut off", at);
    if (auto read = read_record(kind, length, rest, whole); !read.ok())
      return error("archive: the record at {}: {}", at, read.error().message);
  }
  return whole;
}

}  // namespace dvm::mapreduce
