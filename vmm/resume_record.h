// What lets a machine go on after all of its processes are gone: how it was launched, and, if its
// power failed and there was time, all of its guest state but RAM.
//
//   the whole machine's power fails ─> each vCPU leaves its state ─> stopped(power_failed) ─> nodes
//        leave in order ─> launcher: `bank`, then `saved`
//
// Death before `saved`: there is no save. The mark goes when the first node that resumes has its
// vCPUs ready, so a resumption that fails before that may be tried again.
#pragma once

#include <string>
#include <string_view>

#include "vmm/epoch_record.h"

namespace dvm::vmm {

inline constexpr u32 kResumeVersion = 2;
inline constexpr u64 kMaxLaunchBytes = 2 * kMiB;
inline constexpr u32 kSavedWhole = 0x4556'4153;

struct ResumeRecord {
  u32 launch_bytes;
  u32 launch_checksum;           // CRC-32C of launch_bytes and the text
  u32 owns_file;                 // the launcher made the pool's file: it goes with the machine
  std::atomic<u32> saved;        // kSavedWhole: `bank` is what the guest goes on from; 0: it is not
  std::atomic<u32> paused;       // 1: it was paused as its power failed
  std::atomic<u32> resumptions;  // so far
  GuestBank bank;
  std::array<char, kMaxLaunchBytes> launch;
};

// For a record of zero bytes. Precondition: at most kMaxLaunchBytes.
void open_resume_record(ResumeRecord& record, std::string_view launch, bool owns_file);
Result<std::string> launch_of(const ResumeRecord& record);

// What the guest goes on from.
enum class ResumePoint {
  save,   // the instant at which its power failed
  epoch,  // the beginning of the epoch that ran
  start,  // it had been reset since, or had hardly begun: it boots
};
// The error says why it cannot go on. Nobody runs the machine. RAM and the undo log are not looked
// at.
Result<ResumePoint> resume_point(const MachineState& machine, const EpochRecord* epoch,
                                 const ResumeRecord& record);

}  // namespace dvm::vmm
