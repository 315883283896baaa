// The firmware configuration device: named files that firmware reads by a selector, byte by byte or
// by DMA (QEMU docs/specs/fw_cfg). What it offers is fixed for a machine (vmm/firmware/
// fw_cfg_files.h) and computed alike by every process; of the guest's there is only where it reads.
#pragma once

#include <array>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "hyperkernel/guest_memory.h"

namespace dvm::vmm {

namespace fw_cfg {

// Offsets from port 0x510.
inline constexpr u16 kSelector = 0;  // 16 bits, little-endian; write only
inline constexpr u16 kData = 1;
inline constexpr u16 kDmaHigh = 4;  // the address's upper half, big-endian
inline constexpr u16 kDmaLow = 8;   // the lower half: writing it starts the transfer
inline constexpr u16 kPorts = 12;

// Selectors that are no file's.
inline constexpr u16 kSignature = 0x00;
inline constexpr u16 kId = 0x01;
inline constexpr u16 kUuid = 0x02;
inline constexpr u16 kRamSize = 0x03;
inline constexpr u16 kNoGraphic = 0x04;
inline constexpr u16 kCpus = 0x05;
inline constexpr u16 kBootMenu = 0x0e;
inline constexpr u16 kMaxCpus = 0x0f;
inline constexpr u16 kFileDirectory = 0x19;
inline constexpr u16 kFirstFile = 0x20;

inline constexpr u32 kIdTraditional = 1 << 0;
inline constexpr u32 kIdDma = 1 << 1;

// "Control" of a DMA access.
inline constexpr u32 kDmaError = 1 << 0;
inline constexpr u32 kDmaRead = 1 << 1;
inline constexpr u32 kDmaSkip = 1 << 2;
inline constexpr u32 kDmaSelect = 1 << 3;  // selector in the upper half
inline constexpr u32 kDmaWrite = 1 << 4;

// No transfer is longer: a bound on the work of one access, above all that there is to read.
inline constexpr u32 kMaxDmaBytes = 1 << 20;
inline constexpr std::size_t kMaxName = 55;  // and a NUL

// FWCfgFile, the directory's entry; all big-endian.
struct DirectoryEntry {
  std::array<u8, 4> size;
  std::array<u8, 2> selector;
  std::array<u8, 2> reserved;
  std::array<char, kMaxName + 1> name;
};
static_assert(sizeof(DirectoryEntry) == 64);

// FWCfgDmaAccess, in guest memory; all big-endian.
struct DmaAccess {
  std::array<u8, 4> control;
  std::array<u8, 4> length;
  std::array<u8, 8> address;
};
static_assert(sizeof(DmaAccess) == 16);

}  // namespace fw_cfg

struct FwCfgItem {
  u16 selector = 0;
  std::vector<u8> bytes;
};

struct FwCfgFile {
  std::string name;  // 1 to kMaxName characters
  std::vector<u8> bytes;
};

// Everything there is to read.
class FwCfgContents {
 public:
  FwCfgContents() = default;
  // Adds signature, id and file directory; files get their selectors in the order of their names.
  FwCfgContents(std::vector<FwCfgItem> items, std::vector<FwCfgFile> files);

  // Empty when nothing has this selector.
  std::span<const u8> item(u16 selector) const;
  // Of the file of that name; null when there is none.
  const std::vector<u8>* file(std::string_view name) const;

 private:
  std::vector<FwCfgItem> items_;
  std::vector<std::string> names_;  // of the files: names_[i] has selector kFirstFile + i
};

struct FwCfgState {
  u64 dma_address = 0;  // its upper half waits here for the lower
  u32 offset = 0;       // of the next byte; stands still at the largest value
  u16 selector = 0;
  u16 reserved = 0;
};
static_assert(sizeof(FwCfgState) == 16 && std::is_trivially_copyable_v<FwCfgState>);

// Past the end of an item, and of one that is not there, reads give zeros. Writes of data change
// nothing: there is nothing to write.
u32 fw_cfg_read(FwCfgState& state, const FwCfgContents& contents, u16 offset, u8 size);
// May carry out a DMA access in `memory`. Its result is in the access's control field: 0, or
// kDmaError for an address that is not RAM, a length above kMaxDmaBytes, or a write.
void fw_cfg_write(FwCfgState& state, const FwCfgContents& contents,
                  const hyperkernel::GuestMemory& memory, u16 offset, u8 size, u32 value);

}  // namespace dvm::vmm
