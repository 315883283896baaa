#include "tools/elf_core.h"

#include <elf.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <tuple>

namespace dvm::tools {
namespace {

// Linux's struct elf_prstatus on x86-64 (include/uapi/linux/elfcore.h), by what lies where.
struct PrStatus {
  std::array<u8, 32> signal;  // siginfo, current and held signals: none
  u32 pid;
  std::array<u8, 76> process;  // parents and times: none
  // user_regs_struct (arch/x86/include/uapi/asm/ptrace.h)
  u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax;
  u64 rip, cs, rflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs;
  u32 fpvalid, padding;
};
static_assert(sizeof(PrStatus) == 336 && offsetof(PrStatus, pid) == 32 &&
              offsetof(PrStatus, r15) == 112);

// The note that QEMU adds for each CPU (docs of crash: "QEMU" note, version 1).
struct QemuSegment {
  u32 selector, limit, flags, padding;
  u64 base;
};
struct QemuCpu {
  u32 version, size;
  u64 rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags;
  QemuSegment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;
  std::array<u64, 5> cr;
  u64 kernel_gs_base;
};
static_assert(sizeof(QemuCpu) == 440);

constexpr u64 kLoadAlignment = 4096;

template <typename T>
void append(std::string& to, const T& object) {
  to.append(reinterpret_cast<const char*>(&object), sizeof(object));
}

void append_padded(std::string& to, const void* bytes, std::size_t n) {
  to.append(static_cast<const char*>(bytes), n);
  to.append((4 - n % 4) % 4, '\0');
}

template <typename T>
void append_note(std::string& to, const char* owner, u32 type, const T& content) {
  const u32 owner_bytes = static_cast<u32>(std::strlen(owner)) + 1;
  append(to, Elf64_Nhdr{owner_bytes, sizeof(content), type});
  append_padded(to, owner, owner_bytes);
  append_padded(to, &content, sizeof(content));
}

PrStatus pr_status(const vmm::VcpuImage& v, u32 index) {
  const auto& [r, s] = std::tie(v.regs, v.sregs);
  PrStatus p{};
  p.pid = index + 1;
  p.r15 = r.r15, p.r14 = r.r14, p.r13 = r.r13, p.r12 = r.r12, p.r11 = r.r11, p.r10 = r.r10;
  p.r9 = r.r9, p.r8 = r.r8, p.rax = r.rax, p.rbx = r.rbx, p.rcx = r.rcx, p.rdx = r.rdx;
  p.rsi = r.rsi, p.rdi = r.rdi, p.rbp = r.rbp, p.rsp = r.rsp, p.orig_rax = r.rax;
  p.rip = r.rip, p.rflags = r.rflags;
  p.cs = s.cs.selector, p.ss = s.ss.selector, p.ds = s.ds.selector, p.es = s.es.selector;
  p.fs = s.fs.selector, p.gs = s.gs.selector, p.fs_base = s.fs.base, p.gs_base = s.gs.base;
  return p;
}

// Flags as in a descriptor's second word (Intel SDM vol. 3A figure 3-8).
QemuSegment segment(const kvm_segment& s) {
  const u32 flags = static_cast<u32>(s.type) << 8 | static_cast<u32>(s.s) << 12 |
                    static_cast<u32>(s.dpl) << 13 | static_cast<u32>(s.present) << 15 |
                    static_cast<u32>(s.avl) << 20 | static_cast<u32>(s.l) << 21 |
                    static_cast<u32>(s.db) << 22 | static_cast<u32>(s.g) << 23;
  return {s.selector, s.limit, flags, 0, s.base};
}

QemuSegment table(const kvm_dtable& t) { return {0, t.limit, 0, 0, t.base}; }

QemuCpu qemu_cpu(const vmm::VcpuImage& v) {
  const kvm_regs& r = v.regs;
  const kvm_sregs& s = v.sregs;
  return {.version = 1,
          .size = sizeof(QemuCpu),
          .rax = r.rax,
          .rbx = r.rbx,
          .rcx = r.rcx,
          .rdx = r.rdx,
          .rsi = r.rsi,
          .rdi = r.rdi,
          .rsp = r.rsp,
          .rbp = r.rbp,
          .r8 = r.r8,
          .r9 = r.r9,
          .r10 = r.r10,
          .r11 = r.r11,
          .r12 = r.r12,
          .r13 = r.r13,
          .r14 = r.r14,
          .r15 = r.r15,
          .rip = r.rip,
          .rflags = r.rflags,
          .cs = segment(s.cs),
          .ds = segment(s.ds),
          .es = segment(s.es),
          .fs = segment(s.fs),
          .gs = segment(s.gs),
          .ss = segment(s.ss),
          .ldt = segment(s.ldt),
          .tr = segment(s.tr),
          .gdt = table(s.gdt),
          .idt = table(s.idt),
          .cr = {s.cr0, 0, s.cr2, s.cr3, s.cr4},
          .kernel_gs_base = v.kernel_gs_base};
}

std::string notes_of(std::span<const vmm::VcpuImage> vcpus) {
  std::string notes;
  for (u32 i = 0; i < vcpus.size(); ++i)
    append_note(notes, "CORE", NT_PRSTATUS, pr_status(vcpus[i], i));
  for (const auto& vcpu : vcpus) append_note(notes, "QEMU", 0, qemu_cpu(vcpu));
  return notes;
}

Elf64_Ehdr elf_header(u16 segments) {
  Elf64_Ehdr e{};
  std::memcpy(e.e_ident, ELFMAG, SELFMAG);
  e.e_ident[EI_CLASS] = ELFCLASS64;
  e.e_ident[EI_DATA] = ELFDATA2LSB;
  e.e_ident[EI_VERSION] = EV_CURRENT;
  e.e_type = ET_CORE;
  e.e_machine = EM_X86_64;
  e.e_version = EV_CURRENT;
  e.e_phoff = sizeof(Elf64_Ehdr);
  e.e_ehsize = sizeof(Elf64_Ehdr);
  e.e_phentsize = sizeof(Elf64_Phdr);
  e.e_phnum = segments;
  return e;
}

}  // namespace

CoreLayout core_layout(std::span<const vmm::VcpuImage> vcpus, std::span<const CoreRange> ranges) {
  const std::string notes = notes_of(vcpus);
  CoreLayout core;
  append(core.head, elf_header(static_cast<u16>(1 + ranges.size())));
  Elf64_Phdr note{};
  note.p_type = PT_NOTE;
  note.p_offset = sizeof(Elf64_Ehdr) + (1 + ranges.size()) * sizeof(Elf64_Phdr);
  note.p_filesz = note.p_memsz = notes.size();
  append(core.head, note);
  core.bytes = (note.p_offset + notes.size() + kLoadAlignment - 1) & ~(kLoadAlignment - 1);
  for (const CoreRange& range : ranges) {
    Elf64_Phdr load{};
    load.p_type = PT_LOAD;
    load.p_offset = core.bytes;
    load.p_vaddr = load.p_paddr = range.gpa;
    load.p_filesz = load.p_memsz = range.bytes;
    append(core.head, load);
    core.offsets.push_back(core.bytes);
    core.bytes += range.bytes;
  }
  core.head += notes;
  return core;
}

}  // namespace dvm::tools
