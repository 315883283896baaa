// Copies QEMU without a mistake that its emulation of SVM has (seen in 7.2): VMRUN leaves the
// number of the interrupt that it has delivered in CPUState::exception_index, and a request to
// leave the loop of emulation that comes without an interrupt of its own delivers it to the guest
// once more, with interrupts off. The store of that number is taken out; nothing reads it there.
// See docs/lab.md. usage: mend_qemu QEMU OUT
//
// Where the store is, is told by two small functions that QEMU exports for its modules: one has the
// offset of exception_index in CPUState, the other that of CPUState from what VMRUN works on. It is
// the one store to there shortly before a call of do_interrupt_x86_hardirq. A QEMU in which just
// that is not found is copied as it is, and this is said.
#include <elf.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::size_t kSmall = 64;       // bytes of a small function that are looked at
constexpr std::size_t kBeforeCall = 96;  // where the store is
constexpr char kNop = '\x90';

template <typename T>
std::optional<T> at(std::string_view bytes, std::size_t offset) {
  T value;
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

std::string_view part(std::string_view bytes, std::size_t offset, std::size_t size) {
  return offset < bytes.size() ? bytes.substr(offset, size) : std::string_view();
}

class Program {
 public:
  explicit Program(std::string_view bytes) : bytes_(bytes) {
    const auto header = at<Elf64_Ehdr>(bytes, 0);
    if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return;
    for (std::size_t i = 0; i < header->e_phnum; ++i) {
      const auto segment = at<Elf64_Phdr>(bytes, header->e_phoff + i * sizeof(Elf64_Phdr));
      if (segment && segment->p_type == PT_LOAD) segments_.push_back(*segment);
    }
    for (std::size_t i = 0; i < header->e_shnum; ++i) {
      const auto section = at<Elf64_Shdr>(bytes, header->e_shoff + i * sizeof(Elf64_Shdr));
      if (!section || section->sh_type != SHT_DYNSYM) continue;
      const auto names =
          at<Elf64_Shdr>(bytes, header->e_shoff + section->sh_link * sizeof(Elf64_Shdr));
      symbols_ = part(bytes, section->sh_offset, section->sh_size);
      if (names) names_ = part(bytes, names->sh_offset, names->sh_size);
    }
  }

  // Where an exported function lies in the file.
  std::optional<std::size_t> find(std::string_view name) const {
    for (std::size_t i = 0; i + sizeof(Elf64_Sym) <= symbols_.size(); i += sizeof(Elf64_Sym)) {
      const auto symbol = at<Elf64_Sym>(symbols_, i);
      const auto its = part(names_, symbol->st_name, name.size() + 1);
      if (its.size() == name.size() + 1 && its.starts_with(name) && its.back() == '\0')
        return offset_of(symbol->st_value);
    }
    return std::nullopt;
  }

  // Calls between two functions of one segment are as far apart in the file as in memory.
  std::string_view code() const {
    for (const auto& segment : segments_) {
      if ((segment.p_flags & PF_X) != 0) return part(bytes_, segment.p_offset, segment.p_filesz);
    }
    return {};
  }

 private:
  std::optional<std::size_t> offset_of(Elf64_Addr address) const {
    for (const auto& s : segments_) {
      if (address >= s.p_vaddr && address - s.p_vaddr < s.p_filesz)
        return address - s.p_vaddr + s.p_offset;
    }
    return std::nullopt;
  }

  std::string_view bytes_, symbols_, names_;
  std::vector<Elf64_Phdr> segments_;
};

// The number in `code` that has `before` in front of it and `after` behind.
std::optional<std::int32_t> number_in(std::string_view code, std::string_view before,
                                      std::string_view after) {
  const std::size_t found = code.find(before);
  if (found == std::string_view::npos) return std::nullopt;
  const std::size_t number = found + before.size();
  if (!part(code, number + 4, after.size()).starts_with(after)) return std::nullopt;
  return at<std::int32_t>(code, number);
}

// mov %reg32, displacement(%base): 89, a byte for both registers, the displacement.
bool is_store(std::string_view instruction, std::int32_t displacement) {
  const auto operand = static_cast<unsigned char>(instruction[1]);
  return instruction[0] == '\x89' && operand >> 6 == 2 && (operand & 7) != 4 &&
         at<std::int32_t>(instruction, 2) == displacement;
}

// The only store that there may be, as an offset in the file; none if it is not just one.
std::optional<std::size_t> find_store(const std::string& qemu) {
  using namespace std::string_view_literals;
  const Program program(qemu);
  const auto exit = program.find("cpu_loop_exit_noexc"),
             call = program.find("do_interrupt_x86_hardirq");
  if (!exit || !call) return std::nullopt;
  const std::string_view all = qemu;
  // movl $-1, index(%rdi); sub $state, %rdi
  const auto index = number_in(part(all, *exit, kSmall), "\xc7\x87"sv, "\xff\xff\xff\xff"sv);
  const auto state = number_in(part(all, *call, kSmall), "\x48\x81\xef"sv, ""sv);
  if (!index || !state) return std::nullopt;
  std::optional<std::size_t> found;
  const std::string_view code = program.code();
  const auto begin = static_cast<std::size_t>(code.data() - all.data());
  for (std::size_t i = begin + kBeforeCall; i + 5 <= begin + code.size(); ++i) {
    if (all[i] != '\xe8' ||
        i + 5 + static_cast<std::size_t>(*at<std::int32_t>(all, i + 1)) != *call)
      continue;
    for (std::size_t j = i - kBeforeCall; j < i; ++j) {
      if (!is_store(part(all, j, 6), *index - *state)) continue;
      const bool longer = (static_cast<unsigned char>(all[j - 1]) & 0xf0) == 0x40;  // its prefix?
      if (found || longer) return std::nullopt;
      found = j;
    }
  }
  return found;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 64;
  std::ifstream in(argv[1], std::ios::binary);
  std::string qemu((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (const auto store = find_store(qemu)) {
    qemu.replace(*store, 6, 6, kNop);
  } else {
    std::fprintf(stderr, "lab: %s is not as 7.2 is: used as it is, see docs/lab.md\n", argv[1]);
  }
  std::ofstream out(argv[2], std::ios::binary | std::ios::trunc);
  out << qemu << std::flush;
  return out.good() && !qemu.empty() ? 0 : 1;
}
