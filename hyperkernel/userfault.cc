#include "hyperkernel/userfault.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "fabric/mapping.h"

namespace dvm::hyperkernel {
namespace {

constexpr u64 kContinueReadOnly = 1u << 1;  // UFFDIO_CONTINUE_MODE_WP, Linux 6.4
constexpr u64 kFeatures = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM |
                          UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
                          UFFD_FEATURE_THREAD_ID;

// /dev/userfaultfd gives the right by its permissions; the system call asks for CAP_SYS_PTRACE.
int open_any() {
  const Fd device(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
  if (device.valid()) return ::ioctl(device.get(), USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
  return static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
}

template <typename Arg>
int call(const Fd& fd, unsigned long request, Arg& arg) {
  for (;;) {
    if (::ioctl(fd.get(), request, &arg) == 0) return 0;
    if (errno != EINTR) return errno;
  }
}

constexpr const char* kNoRight =
    "needs /dev/userfaultfd, CAP_SYS_PTRACE or vm.unprivileged_userfaultfd=1, so that page faults "
    "of KVM can be handled";
constexpr const char* kOldKernel =
    "needs Linux 6.4 or newer: read-only copies of pages (UFFDIO_CONTINUE with write protection)";

}  // namespace

Result<Userfault> Userfault::make_with(u64 features, const char* what, const char* needs) {
  Fd fd(open_any());
  if (!fd.valid()) {
    if (errno == EPERM || errno == EACCES) return error("{} {}", what, kNoRight);
    return sys_error("userfaultfd");
  }
  uffdio_api api{.api = UFFD_API, .features = features, .ioctls = 0};
  if (call(fd, UFFDIO_API, api) != 0) return error("{} {}", what, needs);
  return Userfault(std::move(fd));
}

Result<Userfault> Userfault::make() {
  return make_with(kFeatures, "software coherence", kOldKernel);
}

Result<Userfault> Userfault::make_for_writes() {
  return make_with(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
                   "epochs:", "need Linux 5.19 or newer: write protection of shared memory");
}

Result<Userfault> Userfault::make_for_missing() {
  return make_with(UFFD_FEATURE_MISSING_SHMEM,
                   "pages that come when they are touched:", "need userfaultfd for shared memory");
}

Status Userfault::probe() {
  DVM_ASSIGN(const Userfault user, make());
  const Fd file(::memfd_create("dvm-probe", MFD_CLOEXEC));
  if (!file.valid() || ::ftruncate(file.get(), kPageBytes) != 0) return sys_error("memfd_create");
  DVM_TRY(file.pwrite_all(std::as_bytes(std::span("x", 1)), 0, "probe"));
  DVM_ASSIGN(const Mapping view, Mapping::shared(file, 0, kPageBytes, "probe"));
  const auto at = reinterpret_cast<u64>(view.data());
  DVM_TRY(user.watch(at, kPageBytes));
  if (user.map(at, kPageBytes, true) != 0) return error("software coherence {}", kOldKernel);
  return {};
}

int Userfault::watch_number(u64 at, u64 bytes) const {
  uffdio_register range{
      .range = {at, bytes},
      .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP,
      .ioctls = 0};
  return call(fd_, UFFDIO_REGISTER, range);
}

Status Userfault::watch(u64 at, u64 bytes) const {
  errno = watch_number(at, bytes);
  if (errno != 0) return sys_error("UFFDIO_REGISTER guest memory");
  return {};
}

Status Userfault::watch_writes(u64 at, u64 bytes) const {
  uffdio_register range{.range = {at, bytes}, .mode = UFFDIO_REGISTER_MODE_WP, .ioctls = 0};
  errno = call(fd_, UFFDIO_REGISTER, range);
  if (errno != 0) return sys_error("UFFDIO_REGISTER guest memory");
  return {};
}

Status Userfault::watch_missing(u64 at, u64 bytes) const {
  uffdio_register range{.range = {at, bytes}, .mode = UFFDIO_REGISTER_MODE_MISSING, .ioctls = 0};
  errno = call(fd_, UFFDIO_REGISTER, range);
  if (errno != 0) return sys_error("UFFDIO_REGISTER guest memory");
  return {};
}

int Userfault::copy(u64 to, const std::byte* from, u64 bytes, bool read_only) const {
  for (u64 done = 0; done < bytes;) {
    uffdio_copy copy{.dst = to + done,
                     .src = reinterpret_cast<u64>(from) + done,
                     .len = bytes - done,
                     .mode = read_only ? UFFDIO_COPY_MODE_WP : u64{0},
                     .copy = 0};
    const int failed = call(fd_, UFFDIO_COPY, copy);
    if (failed != 0 && failed != EAGAIN) return failed;
    if (copy.copy > 0) done += static_cast<u64>(copy.copy);
  }
  return 0;
}

int Userfault::zero(u64 at, u64 bytes) const {
  for (u64 done = 0; done < bytes;) {
    uffdio_zeropage range{.range = {at + done, bytes - done}, .mode = 0, .zeropage = 0};
    const int failed = call(fd_, UFFDIO_ZEROPAGE, range);
    if (failed != 0 && failed != EAGAIN) return failed;
    if (range.zeropage > 0) done += static_cast<u64>(range.zeropage);
  }
  return 0;
}

int Userfault::map(u64 at, u64 bytes, bool read_only) const {
  for (u64 done = 0; done < bytes;) {
    uffdio_continue range{
        .range = {at + done, bytes - done}, .mode = read_only ? kContinueReadOnly : 0, .mapped = 0};
    const int failed = call(fd_, UFFDIO_CONTINUE, range);
    if (failed != 0 && failed != EAGAIN) return failed;
    if (range.mapped > 0) done += static_cast<u64>(range.mapped);
  }
  return 0;
}

int Userfault::protect(u64 at, u64 bytes, bool read_only) const {
  uffdio_writeprotect range{.range = {at, bytes},
                            .mode = read_only ? UFFDIO_WRITEPROTECT_MODE_WP : u64{0}};
  for (;;) {
    const int failed = call(fd_, UFFDIO_WRITEPROTECT, range);
    if (failed != EAGAIN) return failed;
  }
}

void Userfault::wake(u64 at, u64 bytes) const {
  uffdio_range range{at, bytes};
  call(fd_, UFFDIO_WAKE, range);
}

}  // namespace dvm::hyperkernel
