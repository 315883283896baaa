#include "vmm/acpi/resource.h"

#include <cassert>

namespace dvm::vmm::aml {
namespace {

// Small items have their length in the tag, large ones behind it (ACPI 6.5 §6.4.2, §6.4.3).
constexpr u8 kIoTag = 0x47, kEndTag = 0x79;
constexpr u8 kMemory32FixedTag = 0x86, kInterruptTag = 0x89;
constexpr u8 kDWordSpaceTag = 0x87, kWordSpaceTag = 0x88, kQWordSpaceTag = 0x8a;

constexpr u8 kDecode16 = 1;
constexpr u8 kConsumer = 1;
// General flags of an address space: minimum and maximum fixed, decoded positively, producer.
constexpr u8 kFixedWindow = 1 << 2 | 1 << 3;
enum SpaceType : u8 { kMemorySpace = 0, kIoSpace = 1, kBusSpace = 2 };
constexpr u8 kMemoryReadWrite = 1;  // type flags; not cacheable, AddressRangeMemory
constexpr u8 kEntireRange = 3;      // ISA and non-ISA ports

template <typename T>
void append(Code& to, T value) {
  for (unsigned i = 0; i < sizeof(T); ++i) to.push_back(static_cast<u8>(u64{value} >> (8 * i)));
}

// T is the width of the descriptor's addresses.
template <typename T>
Code address_space(u8 tag, SpaceType type, u8 type_flags, T first, T last) {
  assert(first <= last);
  Code code{tag};
  append(code, static_cast<u16>(3 + 5 * sizeof(T)));
  code.insert(code.end(), {type, kFixedWindow, type_flags});
  append(code, T{0});  // granularity
  append(code, first);
  append(code, last);
  append(code, T{0});  // translation
  append(code, static_cast<T>(last - first + 1));
  return code;
}

}  // namespace

Code io_ports(u16 first, u8 count) {
  Code code{kIoTag, kDecode16};
  append(code, first);  // lowest base
  append(code, first);  // highest base
  code.push_back(1);    // alignment
  code.push_back(count);
  return code;
}

Code interrupt(u32 gsi, Trigger trigger, Polarity polarity) {
  Code code{kInterruptTag};
  append(code, u16{6});
  code.push_back(
      static_cast<u8>(kConsumer | static_cast<u8>(trigger) << 1 | static_cast<u8>(polarity) << 2));
  code.push_back(1);  // one interrupt
  append(code, gsi);
  return code;
}

Code memory32(u32 base, u32 bytes, bool writable) {
  Code code{kMemory32FixedTag};
  append(code, u16{9});
  code.push_back(writable ? 1 : 0);
  append(code, base);
  append(code, bytes);
  return code;
}

Code bus_window(u16 first, u16 last) {
  return address_space<u16>(kWordSpaceTag, kBusSpace, 0, first, last);
}

Code io_window(u16 first, u16 last) {
  return address_space<u16>(kWordSpaceTag, kIoSpace, kEntireRange, first, last);
}

Code memory_window32(u32 first, u32 last) {
  return address_space<u32>(kDWordSpaceTag, kMemorySpace, kMemoryReadWrite, first, last);
}

Code memory_window64(u64 first, u64 last) {
  return address_space<u64>(kQWordSpaceTag, kMemorySpace, kMemoryReadWrite, first, last);
}

Code resource_template(std::initializer_list<Code> descriptors) {
  Code bytes = join(descriptors);
  bytes.insert(bytes.end(), {kEndTag, 0});  // checksum 0: not computed
  return buffer(bytes);
}

}  // namespace dvm::vmm::aml
