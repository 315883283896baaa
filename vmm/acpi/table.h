// One ACPI system description table: the common header, the checksum, and an appender of fields.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fabric/types.h"

namespace dvm::vmm {

inline constexpr std::string_view kOemId = "DVM   ";  // six characters
inline constexpr std::size_t kTableHeaderBytes = 36;
inline constexpr u32 kTableChecksum = 9;  // its offset in the header

// The RSDP (ACPI 6.5 §5.2.5.3). The first checksum covers what ACPI 1.0 knew.
inline constexpr u32 kRsdpChecksum = 8, kRsdpExtendedChecksum = 32;
inline constexpr u32 kRsdpRsdt = 16, kRsdpXsdt = 24;
inline constexpr u32 kRsdpAcpi1Bytes = 20, kRsdpBytes = 36;

// So that all bytes sum to 0 modulo 256.
u8 acpi_checksum(const u8* bytes, std::size_t count);

// Built front to back; finish() fills in length and checksum (ACPI 6.5 §5.2.6).
class TableBuilder {
 public:
  TableBuilder(std::string_view signature, u8 revision);

  template <typename T>
  TableBuilder& add(T value) {
    for (unsigned i = 0; i < sizeof(T); ++i) {
      bytes_.push_back(static_cast<u8>(static_cast<u64>(value) >> (8 * i)));
    }
    return *this;
  }
  TableBuilder& add_bytes(const std::vector<u8>& bytes);
  // Zeros up to offset `end` of the table.
  TableBuilder& pad_to(std::size_t end);
  // For tables whose layout is a map of offsets (the FADT).
  template <typename T>
  TableBuilder& put(std::size_t offset, T value) {
    for (unsigned i = 0; i < sizeof(T); ++i) {
      bytes_.at(offset + i) = static_cast<u8>(static_cast<u64>(value) >> (8 * i));
    }
    return *this;
  }
  std::vector<u8> finish();

 private:
  std::vector<u8> bytes_;
};

}  // namespace dvm::vmm
