// The parts of an ELF-64 file that loading a kernel needs. Pure: every offset in the file is
// checked before it is used.
#pragma once

#include <elf.h>

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::vmm {

// Where the program headers are. `count` is at most 65534, as its field is 16 bits wide.
struct ElfProgramTable {
  u64 offset = 0;
  u64 count = 0;

  u64 bytes() const { return count * sizeof(Elf64_Phdr); }
};

// `head` is the start of the file. x86-64 executables only.
Result<ElfProgramTable> parse_elf_header(std::span<const std::byte> head, u64 file_bytes,
                                         const std::string& label);

// `table` is the bytes that ElfProgramTable names. Each segment lies within the file.
Result<std::vector<Elf64_Phdr>> parse_program_headers(std::span<const std::byte> table,
                                                      u64 file_bytes, const std::string& label);

// The description of the first note with this owner and type. Malformed notes end the search.
std::optional<std::span<const std::byte>> find_note(std::span<const std::byte> notes,
                                                    std::string_view owner, u32 type);

}  // namespace dvm::vmm
