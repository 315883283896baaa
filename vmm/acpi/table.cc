#include "vmm/acpi/table.h"

#include <cassert>
#include <utility>

namespace dvm::vmm {
namespace {

constexpr std::size_t kLengthOffset = 4;
constexpr std::string_view kOemTableId = "DVMTABLE";  // eight characters
constexpr std::string_view kCreatorId = "DVM ";       // four
constexpr u32 kRevision = 1;                          // of our tables, and of their builder

}  // namespace

u8 acpi_checksum(const u8* bytes, std::size_t count) {
  u8 sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum = static_cast<u8>(sum + bytes[i]);
  return static_cast<u8>(0x100 - sum);
}

TableBuilder::TableBuilder(std::string_view signature, u8 revision) {
  assert(signature.size() == 4);
  const auto add_text = [this](std::string_view text) {
    bytes_.insert(bytes_.end(), text.begin(), text.end());
  };
  add_text(signature);
  add(u32{0}).add(revision).add(u8{0});  // length and checksum: finish()
  add_text(kOemId);
  add_text(kOemTableId);
  add(kRevision);
  add_text(kCreatorId);
  add(kRevision);
  assert(bytes_.size() == kTableHeaderBytes);
}

TableBuilder& TableBuilder::add_bytes(const std::vector<u8>& bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  return *this;
}

TableBuilder& TableBuilder::pad_to(std::size_t end) {
  assert(end >= bytes_.size());
  bytes_.resize(end);
  return *this;
}

std::vector<u8> TableBuilder::finish() {
  put(kLengthOffset, static_cast<u32>(bytes_.size()));
  put(kTableChecksum, u8{0});
  put(kTableChecksum, acpi_checksum(bytes_.data(), bytes_.size()));
  return std::move(bytes_);
}

}  // namespace dvm::vmm
