// The configuration space of one PCI function: a type 0 header, base address registers and a
// capability list (PCI Local Bus 3.0 §6). Pure: state and functions on it. The state lives in the
// pool, so it is plain bytes; what may be written follows from a short description beside the
// values.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <type_traits>

#include "fabric/types.h"

namespace dvm::vmm {

inline constexpr u32 kPciBars = 6;
inline constexpr u16 kConfigBytes = 256;
inline constexpr u16 kExtendedConfigBytes = 4096;  // PCI Express Base 3.0 §7.2: what ECAM shows

enum class BarKind : u8 {
  none,
  mem32,
  mem64,       // takes the next slot as well
  mem64_high,  // that slot: the upper half of the address
  io,
};

struct Bar {
  BarKind kind;
  u8 size_log2;
};

// Bits of one aligned doubleword outside the header that the guest may write.
struct WritableDword {
  u8 offset;
  std::array<u8, 3> reserved;
  u32 mask;
};

struct ConfigSpace {
  static constexpr u32 kMaxWritable = 8;

  std::array<u32, kConfigBytes / 4> dwords;  // as the guest reads them
  std::array<WritableDword, kMaxWritable> writable;
  std::array<Bar, kPciBars> bars;
  u8 writable_count;
  u8 last_capability;  // 0: none yet
  u8 next_free;        // where the next capability goes
  u8 reserved;
};
static_assert(sizeof(ConfigSpace) == 336);
static_assert(std::is_trivially_copyable_v<ConfigSpace> && std::is_standard_layout_v<ConfigSpace>);

struct PciIdentity {
  u16 vendor;
  u16 device;
  u32 class_code;  // base class, subclass, interface: 24 bits
  u8 revision;
  u16 subsystem_vendor;
  u16 subsystem;
};

// --- building: at machine start, from constants; what does not fit is a programming error
// ---------
ConfigSpace make_config_space(const PciIdentity& identity);
// `bytes` is a power of two: at least 16 (memory) or 4 (I/O).
void add_bar(ConfigSpace& config, u32 bar, BarKind kind, u64 bytes);
// Appends a capability; `body` is what follows its id and next pointer. Returns its offset.
u8 add_capability(ConfigSpace& config, u8 id, std::span<const u8> body);
void set_interrupt_pin(ConfigSpace& config, u8 pin);  // 1: INTA .. 4: INTD
// `offset`: a multiple of 4 behind the header.
void set_dword(ConfigSpace& config, u8 offset, u32 value);
void make_writable(ConfigSpace& config, u8 offset, u32 mask);
// What firmware would do: gives the BAR its address. Decoding is enabled by the command register.
void set_bar_base(ConfigSpace& config, u32 bar, u64 base);
void set_command(ConfigSpace& config, u16 command);

// --- the guest's side -------------------------------------------------------------------------
// An access has 1, 2 or 4 bytes inside one doubleword (PCI Express Base 3.0 §2.2.7). Any other, or
// one past the 4 KiB of a function, reads as ones and writes nothing. Extended space reads as zero:
// no extended capabilities (PCI Express Base 3.0 §7.9.1).
u32 config_read(const ConfigSpace& config, u16 offset, u8 size);
void config_write(ConfigSpace& config, u16 offset, u8 size, u32 value);

struct BarWindow {
  BarKind kind;
  u64 base;
  u64 bytes;
};
// Where the BAR answers now; nothing while decoding is off, the address is unset, or it is the
// answer to sizing. The guest chooses the base: the caller lets RAM, APICs and ECAM win over it.
std::optional<BarWindow> bar_window(const ConfigSpace& config, u32 bar);

bool bus_master(const ConfigSpace& config);
// Interrupt Status, and the level of the INTx pin: Interrupt Status unless disabled by the command
// register (PCI 3.0 §6.2.2, §6.2.3).
void set_interrupt_status(ConfigSpace& config, bool pending);
bool intx_level(const ConfigSpace& config);

}  // namespace dvm::vmm
