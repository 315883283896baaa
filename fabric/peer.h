// A process among the others, in the pool: who it is, the life words of its threads, its heartbeat.
#pragma once

#include <array>
#include <memory>
#include <optional>

#include "fabric/doorbell.h"
#include "fabric/fd.h"
#include "fabric/instance.h"
#include "fabric/life_word.h"

namespace dvm::fabric {

// The first is that of the thread that joined, which stays until the process leaves; the others are
// taken as threads come. Room for a node with every vCPU and every disk of the largest machine.
inline constexpr u32 kLifeWords = 88;

// One per stable id. `instance` is stored last at joining and cleared first at leaving, so a record
// that names somebody always has a first life word that is being watched by the kernel. Death at
// any instruction in between: nobody is named, nothing to mend.
struct alignas(64) PeerRecord {
  std::atomic<u64> instance;  // packed InstanceId; 0: nobody
  std::atomic<u64> beats;     // grows with every heartbeat
  std::atomic<i32> pid;
  std::atomic<u32> host;          // processes with the same one share a kernel
  std::atomic<u32> allowance_ms;  // a deadline longer than the configured one; 0: none
  u32 reserved;
  std::array<LifeWord, kLifeWords> life;
};
static_assert(sizeof(PeerRecord) == 384);

// True once no registered thread of the record runs, nor can another register: free words are
// closed on the way. Only for one that is to be fenced.
bool close_if_stopped(PeerRecord& record);

struct PeerTable {
  Doorbell changed;  // somebody joined or left
  std::array<u32, 15> reserved;
  std::array<PeerRecord, kMaxInstances> records;
};

struct FabricState;

// This process's place. Contract: what a thread writes to the pool it writes while registered, so
// that "all life words stopped" means that the process writes no more.
class Peer {
 public:
  // Joins as `self` (from InstanceTable::join) on `host`; the calling thread is the first
  // registered. Errors: an earlier generation is still in the record, or its failure not finished
  // (try again later); those of LifeRegistration.
  static Result<std::unique_ptr<Peer>> join(FabricState& fabric, InstanceId self, u32 host);
  // Leaves, on the thread that joined, after all other registrations are gone. The caller has
  // retired the instance before.
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // The heartbeat; at least every tick_ns of the detector. Threads: any.
  void beat() { record_.beats.fetch_add(1, std::memory_order_release); }
  // The next beat may take this long (0: as configured again). Counts as a beat.
  void allow_ms(u32 milliseconds) {
    record_.allowance_ms.store(milliseconds, std::memory_order_release);
    beat();
  }
  // Registers the calling thread until the returned one is destroyed, on the same thread. Error: no
  // word is free, or the thread is registered.
  Result<std::unique_ptr<LifeRegistration>> register_thread();

  InstanceId self() const { return self_; }
  u32 host() const { return record_.host.load(std::memory_order_relaxed); }

 private:
  Peer(PeerTable& peers, InstanceId self)
      : peers_(peers), record_(peers.records[self.id]), self_(self) {}

  PeerTable& peers_;
  PeerRecord& record_;
  const InstanceId self_;
  std::unique_ptr<LifeRegistration> first_;
};

// A descriptor of a process that is certain to be that of `record`: it is opened by pid, and the
// record's first life word, read afterwards, still says that the joining thread lives (so the pid
// had not passed to a stranger). Nothing: it is not alive or not of this host's kernel.
std::optional<Fd> open_process(const PeerRecord& record, InstanceId who);

}  // namespace dvm::fabric
