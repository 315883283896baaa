#include "vmm/boot/pvh.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "vmm/boot/e820.h"
#include "vmm/boot/elf.h"
#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

constexpr std::string_view kNoteOwner = "Xen";
constexpr u32 kPhys32Entry = 18;  // XEN_ELFNOTE_PHYS32_ENTRY, xen/include/public/elfnote.h
constexpr u64 kMaxNoteBytes = 64 * kKiB;

// hvm/start_info.h, version 1.
struct StartInfo {
  u32 magic = 0x336e'c578;
  u32 version = 1;
  u32 flags = 0;
  u32 module_count = 0;
  u64 modules = 0;
  u64 command_line = 0;
  u64 rsdp = 0;
  u64 memory_map = 0;
  u32 memory_map_entries = 0;
  u32 reserved = 0;
};
static_assert(sizeof(StartInfo) == 56);

struct Module {
  u64 gpa = 0;
  u64 bytes = 0;
  u64 command_line = 0;
  u64 reserved = 0;
};
static_assert(sizeof(Module) == 32);

struct MemoryMapEntry {
  u64 gpa = 0;
  u64 bytes = 0;
  u32 type = 0;
  u32 reserved = 0;
};
static_assert(sizeof(MemoryMapEntry) == 24);

constexpr u64 kModulesAt = layout::kPvhStartInfo + 0x40;
constexpr u64 kMemoryMapAt = layout::kPvhStartInfo + 0x80;

// The entry's physical address: the note holds 4 or 8 bytes of it.
Result<std::optional<u64>> read_entry(const BootFile& file, const Elf64_Phdr& notes) {
  if (notes.p_filesz > kMaxNoteBytes) {
    return usage_error("{}: ELF notes of {} bytes; at most {} are taken", file.label(),
                       notes.p_filesz, kMaxNoteBytes);
  }
  DVM_ASSIGN(const auto bytes, file.read(notes.p_offset, notes.p_filesz));
  const auto note = find_note(bytes, kNoteOwner, kPhys32Entry);
  if (!note || (note->size() != 4 && note->size() != 8)) return std::optional<u64>();
  u64 entry = 0;
  std::memcpy(&entry, note->data(), note->size());
  return std::optional(entry);
}

Result<PvhSegment> to_segment(const Elf64_Phdr& p, const std::string& label) {
  if (p.p_memsz < p.p_filesz || p.p_paddr < kMiB || p.p_memsz > 4 * kGiB ||
      p.p_paddr > 4 * kGiB - p.p_memsz) {
    return usage_error("{}: ELF segment at {:#x}+{:#x}; from 1 MiB to 4 GiB is allowed", label,
                       p.p_paddr, p.p_memsz);
  }
  return PvhSegment{p.p_offset, p.p_filesz, p.p_paddr, p.p_memsz};
}

Status fill_zero(const hyperkernel::GuestMemory& memory, u64 gpa, u64 bytes) {
  while (bytes > 0) {
    const auto part = memory.span_from(gpa, bytes);
    if (part.empty()) return error("guest address {:#x} is not RAM", gpa);
    std::memset(part.data(), 0, part.size());
    gpa += part.size();
    bytes -= part.size();
  }
  return {};
}

}  // namespace

u64 PvhImage::end() const {
  u64 end = 0;
  for (const PvhSegment& s : segments) end = std::max(end, s.gpa + s.bytes);
  return end;
}

bool is_elf(std::span<const std::byte> head) {
  return head.size() >= SELFMAG && std::memcmp(head.data(), ELFMAG, SELFMAG) == 0;
}

Result<PvhImage> read_pvh(const BootFile& file) {
  const std::string& label = file.label();
  DVM_ASSIGN(const auto head, file.read(0, sizeof(Elf64_Ehdr)));
  DVM_ASSIGN(const auto table, parse_elf_header(head, file.bytes(), label));
  DVM_ASSIGN(const auto table_bytes, file.read(table.offset, table.bytes()));
  DVM_ASSIGN(const auto headers, parse_program_headers(table_bytes, file.bytes(), label));
  PvhImage image;
  std::optional<u64> entry;
  for (const Elf64_Phdr& p : headers) {
    if (p.p_type == PT_LOAD && p.p_memsz > 0) {
      DVM_ASSIGN(const auto segment, to_segment(p, label));
      image.segments.push_back(segment);
    } else if (p.p_type == PT_NOTE && !entry) {
      DVM_ASSIGN(entry, read_entry(file, p));
    }
  }
  if (!entry) {
    return usage_error(
        "{}: an ELF without a PVH entry (XEN_ELFNOTE_PHYS32_ENTRY); give a bzImage "
        "or a vmlinux built with CONFIG_PVH",
        label);
  }
  image.entry = *entry;
  const bool inside = std::ranges::any_of(image.segments, [&entry](const PvhSegment& s) {
    return *entry >= s.gpa && *entry - s.gpa < s.bytes;
  });
  if (!inside) return usage_error("{}: PVH entry {:#x} is in no segment", label, image.entry);
  return image;
}

Status check_pvh_fits(const PvhImage& image, u64 ram_end, const std::string& label) {
  if (image.end() <= ram_end) return {};
  return usage_error("{}: needs memory up to {} MiB; memory ends at {} MiB", label,
                     to_mib(image.end()), ram_end / kMiB);
}

Status load_pvh(const PvhImage& image, const BootFile& file,
                const hyperkernel::GuestMemory& memory) {
  for (const PvhSegment& s : image.segments) {
    DVM_TRY(file.load(memory, s.gpa, s.file_offset, s.file_bytes));
    DVM_TRY(fill_zero(memory, s.gpa + s.file_bytes, s.bytes - s.file_bytes));
  }
  return {};
}

Status write_pvh_start_info(const Initrd& initrd, u64 ram_bytes, u64 rsdp,
                            const hyperkernel::GuestMemory& memory) {
  std::vector<MemoryMapEntry> map;
  for (const E820Entry& e : memory_map(ram_bytes)) {
    map.push_back({e.gpa, e.bytes, static_cast<u32>(e.type), 0});
  }
  StartInfo info;
  info.command_line = layout::kCommandLine;
  info.rsdp = rsdp;
  info.memory_map = kMemoryMapAt;
  info.memory_map_entries = static_cast<u32>(map.size());
  if (initrd.bytes > 0) {
    info.module_count = 1;
    info.modules = kModulesAt;
    DVM_TRY(memory.store(kModulesAt, Module{initrd.gpa, initrd.bytes, 0, 0}));
  }
  DVM_TRY(memory.write(kMemoryMapAt, std::as_bytes(std::span(map))));
  return memory.store(layout::kPvhStartInfo, info);
}

}  // namespace dvm::vmm
