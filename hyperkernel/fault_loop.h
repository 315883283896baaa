// A thread's loop over the page faults of a userfaultfd, which wait until they are served.
#pragma once

#include <poll.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <span>

#include "hyperkernel/userfault.h"

namespace dvm::hyperkernel {

// Serves each fault in turn until `stopping`, or until `serve(const uffd_msg&)` says false.
// `wake` is an eventfd: written once `stopping` is set, it ends the wait.
template <typename Serve>
void serve_faults(const Fd& faults, const Fd& wake, const std::atomic<bool>& stopping,
                  Serve&& serve) {
  std::array<uffd_msg, 16> messages;
  while (!stopping.load(std::memory_order_relaxed)) {
    const ssize_t got = ::read(faults.get(), messages.data(), sizeof messages);
    if (got <= 0) {
      std::array<pollfd, 2> both{{{faults.get(), POLLIN, 0}, {wake.get(), POLLIN, 0}}};
      ::poll(both.data(), both.size(), -1);
      continue;
    }
    for (const uffd_msg& m :
         std::span(messages).first(static_cast<std::size_t>(got) / sizeof(uffd_msg))) {
      if (m.event == UFFD_EVENT_PAGEFAULT && !serve(m)) return;
    }
  }
}

}  // namespace dvm::hyperkernel
