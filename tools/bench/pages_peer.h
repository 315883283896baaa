// The other node of `dvm-bench pages`: a process that does as it is told, and can be stopped.
#pragma once

#include <sys/types.h>

#include <memory>

#include "hyperkernel/pager.h"

namespace dvm::bench {

inline constexpr u32 kHere = 0, kThere = 1;

enum class Order : u32 {
  none,
  write_all,
  read_all,
  rest,  // runs nothing of the guest
  run,
};

// A pool of `pages` pages of RAM and nothing else.
Result<fabric::Pool> make_pages_pool(u64 pages);
Result<std::unique_ptr<hyperkernel::Pager>> make_pages_node(const fabric::Pool& pool, u32 index,
                                                            u64 local_pages);

inline std::atomic<u64>& word(hyperkernel::Pager& node, u64 page) {
  return *reinterpret_cast<std::atomic<u64>*>(node.view() + page * kPageBytes);
}
inline double since_us(u64 from_ns) {
  return static_cast<double>(fabric::monotonic_ns() - from_ns) / 1000;
}
// The measured process is on one processor and its peer on another, as nodes on two hosts are.
void stay_on(u32 cpu);

// Threads: the one that started it.
class PagesPeer {
 public:
  PagesPeer() = default;
  ~PagesPeer() { end(); }
  PagesPeer(const PagesPeer&) = delete;
  PagesPeer& operator=(const PagesPeer&) = delete;

  // Forks; returns when it is a node.
  Status start(const fabric::Pool& pool, u64 pages);
  void end();
  // Back once it is done.
  void tell(Order order);
  // From a futex to the other process and back.
  void ping();
  void stop();  // SIGSTOP
  void go_on();

 private:
  struct Desk;
  [[noreturn]] void serve(const fabric::Pool& pool, u64 pages);
  Desk* desk_ = nullptr;
  pid_t pid_ = -1;
};

}  // namespace dvm::bench
