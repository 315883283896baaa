#include "hyperkernel/fault_cost.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <thread>

#include "fabric/doorbell.h"
#include "fabric/mapping.h"
#include "hyperkernel/userfault.h"

namespace dvm::hyperkernel {
namespace {

constexpr u64 kTouches = 15, kCopies = 64;
constexpr u32 kLeast = 8, kMost = 200, kGuess = 20;

template <std::size_t N>
u64 median(std::array<u64, N> values) {
  std::ranges::nth_element(values, values.begin() + N / 2);
  return values[N / 2];
}

Result<u64> ns_a_fault(const Mapping& view) {
  DVM_ASSIGN(const Userfault user, Userfault::make_for_writes());
  const u64 at = reinterpret_cast<u64>(view.data());
  std::memset(view.data(), 1, kTouches * kPageBytes);
  DVM_TRY(user.watch_writes(at, kTouches * kPageBytes));
  errno = user.protect(at, kTouches * kPageBytes, true);
  if (errno != 0) return sys_error("UFFDIO_WRITEPROTECT");
  std::array<u64, kTouches> took;
  std::thread writer([&] {
    for (u64 i = 0; i < kTouches; ++i) {
      const u64 from = fabric::monotonic_ns();
      static_cast<volatile std::byte*>(view.data())[i * kPageBytes] = std::byte{2};
      took[i] = fabric::monotonic_ns() - from;
    }
  });
  Status served;
  for (u64 i = 0; i < kTouches && served.ok();) {
    uffd_msg message;
    const ssize_t got = ::read(user.fd().get(), &message, sizeof message);
    if (got == sizeof message)
      user.protect(at + i++ * kPageBytes, kPageBytes, false);
    else if (errno == EAGAIN || errno == EINTR)
      std::this_thread::yield();
    else
      served = sys_error("read userfaultfd");
  }
  if (!served.ok())
    user.protect(at, kTouches * kPageBytes, false);  // the writer goes on, unmeasured
  writer.join();
  DVM_TRY(served);
  return median(took);
}

u64 ns_for_copies(const Mapping& view) {
  const auto* from = view.data();
  std::array<u64, 5> took;
  for (u64& ns : took) {
    const u64 begun = fabric::monotonic_ns();
    for (u64 i = 0; i < kCopies; ++i)
      std::memcpy(view.data() + (kCopies + i) * kPageBytes, from + i * kPageBytes, kPageBytes);
    ns = fabric::monotonic_ns() - begun;
  }
  return median(took);
}

}  // namespace

u32 copies_for_a_fault() {
  constexpr u64 bytes = 2 * kCopies * kPageBytes;
  const Fd file(::memfd_create("dvm-fault-cost", MFD_CLOEXEC));
  if (!file.valid() || ::ftruncate(file.get(), bytes) != 0) return kGuess;
  const auto view = Mapping::shared(file, 0, bytes, "fault cost");
  if (!view.ok()) return kGuess;
  const auto fault = ns_a_fault(*view);
  if (!fault.ok()) return kGuess;
  const u64 copies = std::max<u64>(ns_for_copies(*view), 1);
  return static_cast<u32>(std::clamp<u64>(*fault * kCopies / copies, kLeast, kMost));
}

}  // namespace dvm::hyperkernel
