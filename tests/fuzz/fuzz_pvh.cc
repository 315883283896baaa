// Threat: an ELF kernel whose headers, program table or notes say anything. It is refused with a
// message, or loaded inside guest RAM.
//
// Input: mode u8, then the file. mode & 1: the ELF identification, machine and type are mended, so
// that what lies behind them is reached; & 2: an initrd of one page comes with it.
#include <elf.h>

#include <vector>

#include "tests/fuzz/boot_harness.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dvm;
  fuzz::Input input(data, size);
  const u8 mode = input.take<u8>();
  const auto bytes = input.take_bytes(size);
  std::vector<u8> file(bytes.begin(), bytes.end());
  if ((mode & 1) != 0 && file.size() >= sizeof(Elf64_Ehdr)) {
    Elf64_Ehdr header{};
    std::memcpy(&header, file.data(), sizeof(header));
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_machine = EM_X86_64;
    header.e_type = ET_EXEC;
    header.e_version = EV_CURRENT;
    header.e_phentsize = sizeof(Elf64_Phdr);
    std::memcpy(file.data(), &header, sizeof(header));
  }
  static const std::vector<u8> initrd(kPageBytes, 0x77);
  const auto with = (mode & 2) != 0 ? std::span<const u8>(initrd) : std::span<const u8>();
  fuzz::boot(file, with, "console=ttyS0");
  return 0;
}
