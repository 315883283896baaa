#include "vmm/acpi/wdat.h"

#include <array>

#include "vmm/acpi/table.h"
#include "vmm/devices/watchdog.h"
#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

using namespace watchdog;

// What an entry is for, and how it is carried out.
enum class Action : u8 {
  ping = 1,
  left = 4,
  count = 5,
  set_count = 6,
  is_running = 8,
  run = 9,
  is_stopped = 10,
  stop = 11,
  status = 32,
  clear_status = 33
};
enum class Instruction : u8 { read_value = 0, read_count = 1, write_value = 2, write_count = 3 };

struct Entry {
  Action action;
  Instruction instruction;
  u16 offset;
  u8 bytes;
  u32 value;
};

constexpr std::array kEntries = {
    Entry{Action::ping, Instruction::write_value, kPing, 1, 1},
    Entry{Action::left, Instruction::read_count, kLeft, 2, 0},
    Entry{Action::count, Instruction::read_count, kCount, 2, 0},
    Entry{Action::set_count, Instruction::write_count, kCount, 2, 0},
    Entry{Action::is_running, Instruction::read_value, kRun, 1, 1},
    Entry{Action::run, Instruction::write_value, kRun, 1, 1},
    Entry{Action::is_stopped, Instruction::read_value, kRun, 1, 0},
    Entry{Action::stop, Instruction::write_value, kRun, 1, 0},
    Entry{Action::status, Instruction::read_value, kStatus, 1, 1},
    Entry{Action::clear_status, Instruction::write_value, kStatus, 1, 1},
};

constexpr u8 kSystemIo = 1;    // generic address structure (ACPI 6.5 §5.2.3.2)
constexpr u8 kNoPci = 0xff;    // it is no PCI function
constexpr u8 kEnabled = 0x01;  // flags
constexpr u32 kWatchdogHeaderBytes = 32;

}  // namespace

std::vector<u8> make_wdat() {
  TableBuilder wdat("WDAT", 1);
  wdat.add(kWatchdogHeaderBytes).add(u16{kNoPci}).add(kNoPci).add(kNoPci).add(kNoPci);
  wdat.add(u8{0}).add(u16{0});
  wdat.add(kPeriodMs).add(u32{kMaxCount}).add(u32{kMinCount});
  wdat.add(kEnabled).add(u8{0}).add(u16{0});
  wdat.add(static_cast<u32>(kEntries.size()));
  for (const Entry& e : kEntries) {
    wdat.add(static_cast<u8>(e.action)).add(static_cast<u8>(e.instruction)).add(u16{0});
    wdat.add(kSystemIo).add(static_cast<u8>(8 * e.bytes)).add(u8{0}).add(e.bytes);
    wdat.add(u64{layout::kWatchdogPort} + e.offset);
    wdat.add(e.value).add(e.bytes == 1 ? u32{0x01} : u32{0xffff});
  }
  return wdat.finish();
}

}  // namespace dvm::vmm
