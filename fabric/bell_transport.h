// Doorbells (doorbell.h) between hosts. The counter lies in the pool, which all hosts share; only
// the sleepers are each in their own kernel. So ringing is moving the counter on once, and telling
// every host with sleepers: the own one by futex, another by a message that names the bell by its
// offset.
//
// No ring is lost: the counter moves before the message goes out, and a sleeper's kernel compares
// it before it sleeps. A message may be late, doubled, or for nobody; who is woken looks again.
#pragma once

#include <atomic>
#include <span>
#include <thread>

#include "fabric/doorbell.h"
#include "fabric/fd.h"

namespace dvm::fabric {

// A way to wake one host's sleepers. Threads: any.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual void wake(const Doorbell& bell) = 0;
};

// This host: futex(2).
class LocalTransport : public Transport {
 public:
  void wake(const Doorbell& bell) override;
};

// Another host, which runs a BellReceiver at the other end of a datagram socket. `pool` is this
// process's mapping, which the bell lies in. A host that is gone (the socket says so) is no error:
// its members are the failure detector's business. Waits while the receiver's queue is full.
class SocketTransport : public Transport {
 public:
  SocketTransport(Fd socket, std::span<const std::byte> pool)
      : socket_(std::move(socket)), pool_(pool) {}
  void wake(const Doorbell& bell) override;

 private:
  const Fd socket_;
  const std::span<const std::byte> pool_;
};

// Moves the bell on and wakes the sleepers of every host given.
void ring(Doorbell& bell, std::span<Transport* const> hosts);

// Wakes this host's sleepers for messages that come in, on a thread of its own. Messages that name
// no aligned word of the pool are dropped.
class BellReceiver {
 public:
  BellReceiver(Fd socket, std::span<const std::byte> pool);
  ~BellReceiver();
  BellReceiver(const BellReceiver&) = delete;
  BellReceiver& operator=(const BellReceiver&) = delete;

 private:
  void run();
  const Fd socket_;
  const std::span<const std::byte> pool_;
  std::thread thread_;
};

}  // namespace dvm::fabric
