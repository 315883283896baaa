// A node's keeper in the pool (keeper.h): how far it is, and what it asks the living for.
//
//   none ─> stands_by ─> reads <─> asks ─> answered … ─> done | failed
//
// `asks`: the exit of `vcpu`, whose thread was killed before it was done with it, is in `run`; one
// of the living handles it, leaves the answers there, and says `answered`. Who dies in that leaves
// `helper` stale, and the journal of the vCPU (vcpu_journal.h) tells the next one how far it is.
// Death of the keeper in any state but `done`: what it has not given up is lost with it.
#pragma once

#include <array>
#include <atomic>
#include <string_view>

#include "fabric/doorbell.h"
#include "fabric/life_word.h"
#include "fabric/types.h"

namespace dvm::vmm {

// What ended nodes whose vCPUs went on elsewhere.
enum class RecoveryKind : u32 { killed, hung, power_failed };
inline constexpr u32 kRecoveryKinds = 3;
constexpr std::array<std::string_view, kRecoveryKinds> kRecoveryNames = {"killed", "hung",
                                                                         "power_failed"};

// Why a keeper gave up.
enum class KeeperTrouble : u32 { none, broke_down, injection, exit, save, heir, place };
constexpr std::array<std::string_view, 7> kKeeperTroubles = {"killed",
                                                             "the process had broken down",
                                                             "KVM did not take an interrupt back",
                                                             "an exit was not finished",
                                                             "KVM did not tell a vCPU's state",
                                                             "no node was there to take a vCPU",
                                                             "a vCPU had been asked elsewhere"};

enum class KeeperState : u32 { none, stands_by, reads, asks, answered, done, failed };

struct alignas(64) KeeperRecord {
  // Of kvm_run's pages, those that an exit has something in: the record itself, and port data.
  static constexpr u64 kRunBytes = 8192;

  std::atomic<KeeperState> state;
  std::atomic<i32> pid;
  fabric::Doorbell bell;       // rung when it is answered
  std::atomic<u32> vcpu;       // asks
  std::atomic<u64> helper;     // who answers (fabric/claim.h)
  std::atomic<u64> woken_ns;   // CLOCK_MONOTONIC: its node had ended
  std::atomic<u64> done_ns;    // and all was given up
  std::atomic<u32> given_up;   // vCPUs
  std::atomic<u32> corrupted;  // the node's process broke down by itself: it is not to be trusted
  // Under this number, since the guest was started. By the launcher, for people.
  std::array<std::atomic<u32>, kRecoveryKinds> recoveries;
  std::atomic<KeeperTrouble> trouble;  // failed
  fabric::LifeWord life;               // of its one thread: its end is known before its memory goes
  alignas(64) std::array<std::byte, kRunBytes> run;
};
static_assert(sizeof(KeeperRecord) == 128 + KeeperRecord::kRunBytes);

}  // namespace dvm::vmm
