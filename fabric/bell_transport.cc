#include "fabric/bell_transport.h"

#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "fabric/partition.h"

namespace dvm::fabric {
namespace {

void futex_wake(const void* word, u32 whom) {
  ::syscall(SYS_futex, word, FUTEX_WAKE_BITSET, INT_MAX, nullptr, nullptr, whom);
}

bool names_a_bell(u64 offset, u64 pool_bytes) {
  return is_aligned(offset, sizeof(Doorbell)) && offset < pool_bytes &&
         pool_bytes - offset >= sizeof(Doorbell);
}

}  // namespace

void LocalTransport::wake(const Doorbell& bell) { futex_wake(&bell.rings, reach()); }

void SocketTransport::wake(const Doorbell& bell) {
  if (self_is_cut()) return;
  const auto* at = reinterpret_cast<const std::byte*>(&bell);
  const u64 offset = static_cast<u64>(at - pool_.data());
  while (::send(socket_.get(), &offset, sizeof(offset), MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

void ring(Doorbell& bell, std::span<Transport* const> hosts) {
  bell.rings.fetch_add(1, std::memory_order_acq_rel);
  for (Transport* host : hosts) host->wake(bell);
}

BellReceiver::BellReceiver(Fd socket, std::span<const std::byte> pool)
    : socket_(std::move(socket)), pool_(pool), thread_([this] { run(); }) {}

BellReceiver::~BellReceiver() {
  ::shutdown(socket_.get(), SHUT_RDWR);
  thread_.join();
}

void BellReceiver::run() {
  for (;;) {
    u64 offset = 0;
    const ssize_t got = ::recv(socket_.get(), &offset, sizeof(offset), MSG_TRUNC);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;  // shut down
    if (got == sizeof(offset) && names_a_bell(offset, pool_.size()) && !self_is_cut())
      futex_wake(pool_.data() + offset, ~cut_mask());
  }
}

}  // namespace dvm::fabric
