// How far a vCPU has come with an exit's device operations, in the pool: so that whoever finishes
// the exit of one that died in it repeats none and leaves none out.
//
// An exit has elements (the items of a string instruction; else one), an element has operations
// (the bytes of a wide access to an 8-bit device; else one). An operation is at most one step of a
// device cell that cannot be done twice; what leaves the step is its answer, of 8 bytes at most.
// The step publishes its number and its answer with the device's state, then counts itself here,
// then gives the device's lock back. Death
//   before the step is published: it was not done, and is done;
//   between that and the count: the lock is the dead one's; who takes it over counts (`settle`);
//   after the count: it is answered from here, and what follows from it (interrupt lines, bells) is
//   done again, which does no harm.
#pragma once

#include <array>
#include <atomic>
#include <optional>

#include "fabric/types.h"

namespace dvm::vmm {

// Which operation: 0 is none. Exits are told apart by the low 32 bits of their number.
struct OperationId {
  u8 vcpu = 0;
  u32 exit = 0;
  u16 element = 0;
  u8 operation = 0;

  static constexpr u8 kMostOperations = 255;
  constexpr u64 packed() const {
    return (u64{vcpu} + 1) << 56 | u64{exit} << 24 | u64{element} << 8 | operation;
  }
  static constexpr OperationId unpack(u64 word) {
    return {static_cast<u8>((word >> 56) - 1), static_cast<u32>(word >> 24),
            static_cast<u16>(word >> 8), static_cast<u8>(word)};
  }
};

// Written by whoever handles the vCPU's exit: one at a time; the count also by who holds the lock
// of the device that the operation was for.
struct OperationLog {
  static constexpr u32 kAnswers = 4;  // a wide access to a device of bytes has no more

  std::atomic<u64> exit;  // the number of the one under way
  std::atomic<u64>
      progress;  // exit, element, operations done in it: as an OperationId without vCPU
  std::array<std::atomic<u64>, kAnswers> answers;  // of the last operations

  // A new exit. Precondition: the one before is done with.
  void begin();
  // The element is done, and its answer where it belongs.
  void element_done();
  u16 elements_done() const;
  // The answer of an operation that is done; none: it is not.
  std::optional<u64> done(OperationId id) const;
  // It is done now. Counted once, whoever comes to tell.
  void count(OperationId id, u64 answer);

 private:
  static constexpr u64 position(OperationId id) { return id.packed() << 8 >> 8; }
};

// While it lives, the calling thread's device steps are operations of that vCPU's exit.
class OperationScope {
 public:
  OperationScope(OperationLog& log, u32 vcpu);
  ~OperationScope();
  OperationScope(const OperationScope&) = delete;
  OperationScope& operator=(const OperationScope&) = delete;

  // Elements that are done with.
  u32 elements_done() const { return element_; }
  void element_done();

 private:
  friend void next_operation();
  friend class Operation;
  OperationLog& log_;
  const u8 vcpu_;
  u16 element_ = 0;
  u8 operation_ = 0;    // the next one's number
  bool armed_ = false;  // the next step is one
};

// The calling thread's next device step is an operation of its own. Nothing outside of a scope.
void next_operation();

// The device step that the calling thread is about to make, under the device's lock.
class Operation {
 public:
  Operation();
  u64 id() const { return id_ ? id_->packed() : 0; }
  // Done before, by who died: its answer.
  std::optional<u64> done() const { return id_ ? log_->done(*id_) : std::nullopt; }
  void count(u64 answer) const {
    if (id_) log_->count(*id_, answer);
  }

 private:
  OperationLog* log_ = nullptr;
  std::optional<OperationId> id_;
};

}  // namespace dvm::vmm
