// This process as one that lets guest memory be written under epochs (epoch_record.h): a node, the
// network's process, the launcher. It saves pages before they are first written, and answers when
// an epoch ends or is rolled back. A node may be the coordinator as well.
//
// Two threads: one for writes that wait, one that follows the word.
#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "fabric/peer.h"
#include "hyperkernel/written_pages.h"
#include "vmm/epoch_coordinator.h"
#include "vmm/machine.h"

namespace dvm::vmm {

struct EpochMemberOptions {
  bool coordinates = false;         // a node
  fabric::Peer* peer = nullptr;     // with which its threads register
  std::function<void()> committed;  // an epoch has ended: what was held back here may leave
  std::function<void()> released;   // by this node, as the coordinator: packets may leave
  std::function<void()> rest;     // rolling: returns when no I/O on guest memory is under way here
  std::function<bool()> io_over;  // and none of the dead nodes': what they had in flight has landed
};

class EpochMember {
 public:
  // `machine` has epochs, and all of its memory is mapped; outlives it. Should it be unable to go
  // on, the machine stops, for a reason said on stderr.
  static Result<std::unique_ptr<EpochMember>> join(Machine& machine, EpochMemberOptions options);
  ~EpochMember();
  EpochMember(const EpochMember&) = delete;
  EpochMember& operator=(const EpochMember&) = delete;

 private:
  EpochMember(Machine& machine, EpochMemberOptions options);
  Status take_place();
  void serve_writes();
  bool admit(u64 address);  // false: stopping
  void follow();
  void answer(EpochWord word);
  void fail(const Error& why);

  Machine& machine_;
  EpochRecord& record_;
  const EpochMemberOptions options_;
  EpochMemberRecord* place_ = nullptr;
  std::unique_ptr<hyperkernel::WrittenPages> pages_;
  std::unique_ptr<EpochCoordinator> coordinator_;
  std::atomic<bool> stopping_{false};
  Fd stop_;  // an eventfd
  std::thread writes_, follower_;
};

}  // namespace dvm::vmm
