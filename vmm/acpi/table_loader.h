// The ACPI tables as firmware takes them: it chooses where they lie, so it gets them in files, with
// a script of what to allocate, which pointers to fix and which checksums to set (QEMU
// hw/acpi/bios-linker-loader.c, "etc/table-loader"; SeaBIOS src/fw/romfile_loader.h).
#pragma once

#include <array>

#include "vmm/acpi/tables.h"

namespace dvm::vmm {

inline constexpr std::string_view kAcpiTablesFile = "etc/acpi/tables";
inline constexpr std::string_view kAcpiRsdpFile = "etc/acpi/rsdp";
inline constexpr std::string_view kTableLoaderFile = "etc/table-loader";

enum class LoaderCommand : u32 { allocate = 1, add_pointer = 2, add_checksum = 3 };
enum class LoaderZone : u8 { high = 1, fseg = 2 };  // fseg: where an RSDP is looked for

// One command, little-endian; what a command has no use for is zero.
struct LoaderEntry {
  static constexpr std::size_t kNameBytes = 56;
  using Name = std::array<char, kNameBytes>;

  struct Allocate {
    u32 alignment;
    LoaderZone zone;
  };
  struct [[gnu::packed]] Pointer {
    Name target;  // the address of this file is added
    u32 offset;   // to the little-endian number here
    u8 bytes;
  };
  struct Checksum {
    u32 offset;  // of the checksum
    u32 start;   // of the bytes it makes sum to zero
    u32 bytes;
  };

  LoaderCommand command;
  Name file;  // what is allocated, or changed
  union {
    Allocate allocate;
    Pointer pointer;
    Checksum checksum;
    std::array<u8, 68> padding;
  };
};
static_assert(sizeof(LoaderEntry) == 128);

struct LoaderFiles {
  std::vector<u8> tables;  // addresses in them are offsets in this file
  std::vector<u8> rsdp;
  std::vector<LoaderEntry> script;
};

// `config.base` is not looked at. Pure.
Result<LoaderFiles> make_loader_files(AcpiConfig config);

}  // namespace dvm::vmm
