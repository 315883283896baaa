// A page of a mapping that is absent for all who reach it by that mapping, until it is given back:
// its content stays in the file (userfaultfd's minor faults, Linux 5.14).
#pragma once

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>

#include "fabric/fd.h"

namespace dvm::vmm::testing {

class AbsentPage {
 public:
  static Result<AbsentPage> make(std::byte* page) {
    AbsentPage absent(page);
    absent.fd_ = Fd(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
    if (absent.fd_.get() < 0) return sys_error("userfaultfd");
    uffdio_api api{UFFD_API, UFFD_FEATURE_MINOR_SHMEM, 0};
    if (::ioctl(absent.fd_.get(), UFFDIO_API, &api) < 0) return sys_error("UFFDIO_API");
    uffdio_register range{absent.range(), UFFDIO_REGISTER_MODE_MINOR, 0};
    if (::ioctl(absent.fd_.get(), UFFDIO_REGISTER, &range) < 0) return sys_error("UFFDIO_REGISTER");
    if (::madvise(page, kPageBytes, MADV_DONTNEED) < 0) return sys_error("madvise");
    return absent;
  }

  // Somebody waits for it.
  bool wanted(int milliseconds) const {
    pollfd wait{fd_.get(), POLLIN, 0};
    return ::poll(&wait, 1, milliseconds) == 1;
  }
  // Who waits goes on.
  bool give_back() const {
    uffdio_continue all{range(), 0, 0};
    return ::ioctl(fd_.get(), UFFDIO_CONTINUE, &all) == 0;
  }

 private:
  explicit AbsentPage(std::byte* page) : page_(page) {}
  uffdio_range range() const { return {reinterpret_cast<u64>(page_), kPageBytes}; }

  std::byte* page_;
  Fd fd_;
};

}  // namespace dvm::vmm::testing
