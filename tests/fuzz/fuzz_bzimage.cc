// Threat: a kernel file that says anything in its setup header. It is refused with a message, or
// loaded inside guest RAM.
//
// Input: bytes of initrd u8, of command line u8; those; then the kernel file. A zero byte in the
// command line is a byte like any other.
#include "tests/fuzz/boot_harness.h"
#include "vmm/boot/bzimage.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dvm;
  fuzz::Input input(data, size);
  const u8 initrd_bytes = input.take<u8>(), words = input.take<u8>();
  const auto initrd = input.take_bytes(initrd_bytes);
  const auto text = input.take_bytes(words);
  const auto kernel = input.take_bytes(size);
  const auto image = vmm::parse_bzimage(
      std::as_bytes(kernel.first(std::min<std::size_t>(kernel.size(), vmm::kKernelHeadBytes))),
      kernel.size(), "kernel fuzz");
  if (image.ok()) {
    FUZZ_CHECK(image.value().payload_offset <= kernel.size());
    FUZZ_CHECK(image.value().payload_bytes <= kernel.size() - image.value().payload_offset);
    FUZZ_CHECK(image.value().init_bytes >= image.value().payload_bytes);
  }
  fuzz::boot(kernel, initrd, std::string(text.begin(), text.end()));
  return 0;
}
