#include "vmm/devices/fw_cfg.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace dvm::vmm {

using namespace fw_cfg;
using hyperkernel::GuestMemory;

namespace {

template <std::size_t N>
std::array<u8, N> big_endian(u64 value) {
  std::array<u8, N> bytes{};
  for (std::size_t i = 0; i < N; ++i) bytes[i] = static_cast<u8>(value >> (8 * (N - 1 - i)));
  return bytes;
}

template <std::size_t N>
u64 from_big_endian(const std::array<u8, N>& bytes) {
  u64 value = 0;
  for (const u8 byte : bytes) value = value << 8 | byte;
  return value;
}

template <typename T>
void append(std::vector<u8>& to, const T& value) {
  const auto* bytes = reinterpret_cast<const u8*>(&value);
  to.insert(to.end(), bytes, bytes + sizeof(T));
}

std::vector<u8> directory(const std::vector<FwCfgFile>& files) {
  std::vector<u8> bytes;
  append(bytes, big_endian<4>(files.size()));
  u16 selector = kFirstFile;
  for (const FwCfgFile& file : files) {
    assert(!file.name.empty() && file.name.size() <= kMaxName);
    DirectoryEntry entry{};
    entry.size = big_endian<4>(file.bytes.size());
    entry.selector = big_endian<2>(selector++);
    std::copy(file.name.begin(), file.name.end(), entry.name.begin());
    append(bytes, entry);
  }
  return bytes;
}

void move_on(FwCfgState& state, u32 bytes) {
  state.offset = bytes > ~u32{0} - state.offset ? ~u32{0} : state.offset + bytes;
}

void select(FwCfgState& state, u16 selector) {
  state.selector = selector;
  state.offset = 0;
}

// The bytes that are left of the selected item.
std::span<const u8> rest(const FwCfgState& state, const FwCfgContents& contents) {
  const auto item = contents.item(state.selector);
  return item.subspan(std::min<std::size_t>(state.offset, item.size()));
}

Status read_to_memory(const FwCfgState& state, const FwCfgContents& contents,
                      const GuestMemory& memory, u64 address, u32 length) {
  DVM_ASSIGN(const auto to, memory.span(address, length));
  const auto from = rest(state, contents);
  const auto present = std::as_bytes(from.first(std::min<std::size_t>(length, from.size())));
  const auto zeros = std::ranges::copy(present, to.begin()).out;
  std::fill(zeros, to.end(), std::byte{0});
  return {};
}

bool transfer(FwCfgState& state, const FwCfgContents& contents, const GuestMemory& memory,
              const DmaAccess& access) {
  const u32 control = static_cast<u32>(from_big_endian(access.control));
  const u32 length = static_cast<u32>(from_big_endian(access.length));
  if ((control & kDmaSelect) != 0) select(state, static_cast<u16>(control >> 16));
  if ((control & kDmaRead) != 0) {
    if (length > kMaxDmaBytes) return false;
    const u64 address = from_big_endian(access.address);
    if (length != 0 && !read_to_memory(state, contents, memory, address, length)) return false;
  } else if ((control & kDmaWrite) != 0) {
    return false;
  } else if ((control & kDmaSkip) == 0) {
    return true;
  }
  move_on(state, length);
  return true;
}

void run_dma(FwCfgState& state, const FwCfgContents& contents, const GuestMemory& memory) {
  const u64 at = std::exchange(state.dma_address, 0);
  const auto access = memory.load<DmaAccess>(at);
  if (!access) return;  // nowhere to report it
  const bool done = transfer(state, contents, memory, *access);
  // Last: the guest waits for it. What is not RAM was found so by the load.
  (void)memory.store(at, big_endian<4>(done ? 0 : kDmaError));
}

}  // namespace

FwCfgContents::FwCfgContents(std::vector<FwCfgItem> items, std::vector<FwCfgFile> files)
    : items_(std::move(items)) {
  std::ranges::sort(files, {}, &FwCfgFile::name);
  items_.push_back({kSignature, {'Q', 'E', 'M', 'U'}});
  items_.push_back({kId, {kIdTraditional | kIdDma, 0, 0, 0}});
  items_.push_back({kFileDirectory, directory(files)});
  for (FwCfgFile& file : files) {
    items_.push_back({static_cast<u16>(kFirstFile + names_.size()), std::move(file.bytes)});
    names_.push_back(std::move(file.name));
  }
}

std::span<const u8> FwCfgContents::item(u16 selector) const {
  const auto found = std::ranges::find(items_, selector, &FwCfgItem::selector);
  return found == items_.end() ? std::span<const u8>() : found->bytes;
}

const std::vector<u8>* FwCfgContents::file(std::string_view name) const {
  const auto found = std::ranges::find(names_, name);
  if (found == names_.end()) return nullptr;
  const u16 selector = static_cast<u16>(kFirstFile + (found - names_.begin()));
  return &std::ranges::find(items_, selector, &FwCfgItem::selector)->bytes;
}

u32 fw_cfg_read(FwCfgState& state, const FwCfgContents& contents, u16 offset, u8 size) {
  // The DMA register reads as the text that says it is there.
  constexpr std::string_view kDmaSignature = "QEMU CFG";
  u32 value = 0;
  for (u8 i = 0; i < size; ++i) {
    const u16 at = static_cast<u16>(offset + i);
    u8 byte = 0;
    if (at == kData) {
      const auto from = rest(state, contents);
      byte = from.empty() ? u8{0} : from.front();
      move_on(state, 1);
    } else if (at >= kDmaHigh && at < kPorts) {
      byte = static_cast<u8>(kDmaSignature[at - kDmaHigh]);
    }
    value |= u32{byte} << (8 * i);
  }
  return value;
}

void fw_cfg_write(FwCfgState& state, const FwCfgContents& contents, const GuestMemory& memory,
                  u16 offset, u8 size, u32 value) {
  if (offset == kSelector && size == 2) return select(state, static_cast<u16>(value));
  if (size != 4) return;
  if (offset == kDmaHigh) state.dma_address = u64{__builtin_bswap32(value)} << 32;
  if (offset == kDmaLow) {
    state.dma_address |= __builtin_bswap32(value);
    run_dma(state, contents, memory);
  }
}

}  // namespace dvm::vmm
