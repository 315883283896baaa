// Says where one of its pages is in the guest's memory, and waits until the kernel has taken that
// page out of use: reading it must raise SIGBUS, and the page beside it must be as it was.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include "common.h"

namespace {

constexpr size_t kPage = 4096;
sigjmp_buf g_before_read;
volatile int g_code;
void* volatile g_address;

void OnSigbus(int, siginfo_t* info, void*) {
  g_code = info->si_code;
  g_address = info->si_addr;
  siglongjmp(g_before_read, 1);
}

// Documentation/admin-guide/mm/pagemap.rst: bit 63 present, bits 0-54 the frame.
uint64_t PhysicalAddress(const void* page) {
  const int fd = open("/proc/self/pagemap", O_RDONLY);
  uint64_t entry = 0;
  const off_t at = static_cast<off_t>(reinterpret_cast<uintptr_t>(page) / kPage * 8);
  const bool got = fd >= 0 && pread(fd, &entry, 8, at) == 8;
  close(fd);
  return got && entry >> 63 != 0 ? (entry & ((1ull << 55) - 1)) * kPage : 0;
}

}  // namespace

int main() {
  struct sigaction action {};
  action.sa_sigaction = OnSigbus;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
  auto* pages =
      static_cast<volatile char*>(mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
  pages[0] = 'b';
  pages[kPage] = 'g';
  const uint64_t where = PhysicalAddress(const_cast<const char*>(pages));
  if (where == 0) {
    printf("bad_page: FAIL no physical address: %s\n", strerror(errno));
    return 1;
  }
  printf("bad_page: at 0x%llx\n", static_cast<unsigned long long>(where));
  fflush(stdout);
  if (sigsetjmp(g_before_read, 1) == 0) {
    for (int i = 0; i < 600 && pages[0] == 'b'; ++i) usleep(100'000);
    printf("bad_page: FAIL the page is still there\n");
    return 1;
  }
  const bool ok = g_code == BUS_MCEERR_AR && g_address == pages && pages[kPage] == 'g';
  printf("bad_page: %s SIGBUS code %d\n", ok ? "ok" : "FAIL", g_code);
  return ok ? 0 : 1;
}
