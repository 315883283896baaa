#include "vmm/devices/error_source.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

using namespace error_source;

// ACPI 6.5 table 18.11; the severities are those of table 18.12, too.
struct [[gnu::packed]] StatusBlock {
  u32 status = 1 << 0 | 1 << 4;  // an uncorrectable error, in one entry
  u32 raw_data_offset = 0;
  u32 raw_data_bytes = 0;
  u32 data_bytes = 72 + 80;
  u32 severity = 0;  // recoverable
};
static_assert(sizeof(StatusBlock) == 20);

// Table 18.12, revision 3.
struct [[gnu::packed]] DataEntry {
  // Platform memory (UEFI 2.10 §N.2.2): a5bc1114-6f64-4ede-b863-3e83ed7c83b1.
  std::array<u8, 16> section_type = {0x14, 0x11, 0xbc, 0xa5, 0x64, 0x6f, 0xde, 0x4e,
                                     0xb8, 0x63, 0x3e, 0x83, 0xed, 0x7c, 0x83, 0xb1};
  u32 severity = 0;  // recoverable
  u16 revision = 0x0300;
  u8 valid = 0;  // neither a part's id, nor its text, nor a time stamp
  u8 flags = 0;
  u32 data_bytes = 80;
  std::array<u8, 36> part{};
  u64 time_stamp = 0;
};
static_assert(sizeof(DataEntry) == 72);

// UEFI 2.10 §N.2.5.
struct [[gnu::packed]] MemoryError {
  u64 valid = 1 << 1 | 1 << 2 | 1 << 14;  // address, its mask, the type
  u64 status = 0;
  u64 address = 0;
  u64 address_mask = ~(kPageBytes - 1);
  std::array<u8, 40> where{};  // node, card, module, bank, ...: unknown
  u8 type = 14;                // scrub uncorrected error
  std::array<u8, 7> more{};
};
static_assert(sizeof(MemoryError) == 80);

struct [[gnu::packed]] Registers {
  u64 address = layout::kErrorSource + kBlock;
  std::array<u8, kBlock - 8> reserved{};
  StatusBlock block;
  DataEntry entry;
  MemoryError error;
};
static_assert(sizeof(Registers) == kBlock + kBlockBytes);

}  // namespace

bool error_source_report(ErrorSourceState& state, u64 gpa) {
  const u64 page = gpa & ~(kPageBytes - 1);
  const auto end = state.waiting.begin() + state.waiting_count;
  if (std::find(state.waiting.begin(), end, page) != end) return true;
  if (state.waiting_count == ErrorSourceState::kPages) return false;
  state.waiting[state.waiting_count++] = page;
  ++state.reported;
  return true;
}

u64 error_source_read(const ErrorSourceState& state, u64 offset, u8 size) {
  Registers registers;
  if (state.waiting_count == 0) {
    registers.block = {};
    registers.block.status = 0;
  } else {
    registers.error.address = state.waiting[0];
  }
  u64 value = 0;
  if (offset < sizeof(registers)) {
    const auto bytes = std::bit_cast<std::array<u8, sizeof(Registers)>>(registers);
    std::memcpy(&value, &bytes[offset], std::min<u64>(size, sizeof(bytes) - offset));
  }
  return value;
}

void error_source_write(ErrorSourceState& state, u64 offset, u8 size, u64 value) {
  if (offset > kBlock || kBlock - offset >= size || state.waiting_count == 0) return;
  if ((value >> (8 * (kBlock - offset)) & 0xff) != 0) return;
  --state.waiting_count;
  std::shift_left(state.waiting.begin(), state.waiting.end(), 1);
}

bool error_source_irq(const ErrorSourceState& state) { return state.waiting_count != 0; }

}  // namespace dvm::vmm
