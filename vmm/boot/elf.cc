// ELF-64 Object File Format 1.5; notes as in the System V gABI "Note Section", aligned to 4 bytes.
#include "vmm/boot/elf.h"

#include <cstring>

namespace dvm::vmm {
namespace {

bool lies_within(u64 offset, u64 bytes, u64 end) { return offset <= end && bytes <= end - offset; }

constexpr u64 kNoteAlignment = 4;

}  // namespace

Result<ElfProgramTable> parse_elf_header(std::span<const std::byte> head, u64 file_bytes,
                                         const std::string& label) {
  Elf64_Ehdr h;
  if (head.size() < sizeof(h)) return usage_error("{}: ELF truncated: {} bytes", label, file_bytes);
  std::memcpy(&h, head.data(), sizeof(h));
  if (std::memcmp(h.e_ident, ELFMAG, SELFMAG) != 0) {
    return usage_error("{}: not an ELF (no ELF magic)", label);
  }
  if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_ident[EI_DATA] != ELFDATA2LSB ||
      h.e_machine != EM_X86_64) {
    return usage_error("{}: an ELF, but not for x86-64", label);
  }
  // Executable, or position independent: then the physical addresses still say where it goes.
  if (h.e_type != ET_EXEC && h.e_type != ET_DYN) {
    return usage_error("{}: an ELF, but not an executable (type {})", label, h.e_type);
  }
  if (h.e_phentsize != sizeof(Elf64_Phdr) || h.e_phnum == 0 || h.e_phnum == PN_XNUM) {
    return usage_error("{}: ELF with {} program headers of {} bytes; 1 to 65534 of {} are taken",
                       label, h.e_phnum, h.e_phentsize, sizeof(Elf64_Phdr));
  }
  const ElfProgramTable table{h.e_phoff, h.e_phnum};
  if (!lies_within(table.offset, table.bytes(), file_bytes)) {
    return usage_error("{}: ELF truncated: program headers at {:#x}, {} bytes in the file", label,
                       table.offset, file_bytes);
  }
  return table;
}

Result<std::vector<Elf64_Phdr>> parse_program_headers(std::span<const std::byte> table,
                                                      u64 file_bytes, const std::string& label) {
  std::vector<Elf64_Phdr> headers(table.size() / sizeof(Elf64_Phdr));
  std::memcpy(headers.data(), table.data(), headers.size() * sizeof(Elf64_Phdr));
  for (const Elf64_Phdr& p : headers) {
    if (!lies_within(p.p_offset, p.p_filesz, file_bytes)) {
      return usage_error("{}: ELF truncated: a segment at {:#x}+{:#x}, {} bytes in the file", label,
                         p.p_offset, p.p_filesz, file_bytes);
    }
  }
  return headers;
}

std::optional<std::span<const std::byte>> find_note(std::span<const std::byte> notes,
                                                    std::string_view owner, u32 type) {
  Elf64_Nhdr h;
  while (notes.size() >= sizeof(h)) {
    std::memcpy(&h, notes.data(), sizeof(h));
    notes = notes.subspan(sizeof(h));
    // Both sizes are 32 bits wide, so the sums cannot overflow.
    const u64 name_bytes = align_up(h.n_namesz, kNoteAlignment);
    if (!lies_within(name_bytes, h.n_descsz, notes.size())) return std::nullopt;
    const std::string_view name(reinterpret_cast<const char*>(notes.data()), h.n_namesz);
    // The name in the file has its NUL.
    const bool ours =
        name.size() == owner.size() + 1 && name.starts_with(owner) && name.back() == 0;
    if (ours && h.n_type == type) return notes.subspan(name_bytes, h.n_descsz);
    const u64 used = name_bytes + align_up(h.n_descsz, kNoteAlignment);
    if (used > notes.size()) return std::nullopt;
    notes = notes.subspan(used);
  }
  return std::nullopt;
}

}  // namespace dvm::vmm
