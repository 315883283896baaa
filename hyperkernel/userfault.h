// userfaultfd(2): page faults of a range of this process, handled by a thread of its own choice.
// Whoever holds the descriptor can also work on the range, other processes included: the kernel
// acts on the address space that made it.
#pragma once

#include <linux/userfaultfd.h>

#include "fabric/fd.h"

namespace dvm::hyperkernel {

class Userfault {
 public:
  Userfault() = default;
  explicit Userfault(Fd fd) : fd_(std::move(fd)) {}  // one that another process made

  // With what coherence needs. Errors name the reason: no right to handle faults of the kernel
  // (KVM's are), or a kernel without a feature (Linux >= 6.4).
  static Result<Userfault> make();
  // For writes alone (watch_writes), which Linux has since 5.19.
  static Result<Userfault> make_for_writes();
  // For pages that are not there alone (watch_missing).
  static Result<Userfault> make_for_missing();
  // Whether software coherence can run here; the error says why it cannot.
  static Status probe();

  // [at, at + bytes) of a mapping of a memfd: missing, minor and write-protect faults.
  Status watch(u64 at, u64 bytes) const;
  // The same; 0, or an errno. EBUSY: another descriptor watches some of it.
  int watch_number(u64 at, u64 bytes) const;
  // Writes to pages that are protected, of a mapping of a memfd.
  Status watch_writes(u64 at, u64 bytes) const;
  // Touches of pages that the memfd does not have.
  Status watch_missing(u64 at, u64 bytes) const;
  // All below: 0, or an errno. Whole pages. Faults that wait in the range are woken, if it worked.
  // Makes a page with this content, which must not be there (EEXIST), and maps it.
  int copy(u64 to, const std::byte* from, u64 bytes, bool read_only) const;
  // As copy, of zeroes, writable.
  int zero(u64 at, u64 bytes) const;
  // Maps a page that is in the file but not mapped (else EEXIST).
  int map(u64 at, u64 bytes, bool read_only) const;
  // ESRCH: the address space is gone, and with it everybody who could have written.
  int protect(u64 at, u64 bytes, bool read_only) const;
  void wake(u64 at, u64 bytes) const;

  const Fd& fd() const { return fd_; }

 private:
  static Result<Userfault> make_with(u64 features, const char* what, const char* needs);
  Fd fd_;
};

}  // namespace dvm::hyperkernel
