#include "tools/bench/restore_guest.h"

#include <unistd.h>

#include <chrono>

#include "tools/bench/bench_folder.h"
#include "tools/bench/bench_words.h"
#include "tools/bench/console_run.h"
#include "tools/bench/guest_console.h"
#include "tools/bench/guest_script.h"
#include "tools/bench/qmp_client.h"
#include "tools/child_output.h"
#include "tools/node_process.h"

namespace dvm::tools {
namespace {

using Clock = std::chrono::steady_clock;
using Words = std::vector<std::string>;

constexpr std::string_view kWord = "DVM-GOES-ON";
constexpr u64 kUsedPart = 4;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// It never stops talking, so that its first word comes at once.
std::string append_for(u64 memory) {
  return script_append(fmt::format("yes {0} | head -c {1} > /used\nwhile :; do echo {0}; done\n",
                                   kWord, memory / kUsedPart));
}

Status await_word(GuestConsole& console, Clock::time_point start, double limit_s) {
  MarkerWatch words{std::string(kWord)};
  while (seconds_since(start) < limit_s) {
    DVM_ASSIGN(const std::string part, console.read(100));
    if (words.feed(part)) return {};
  }
  return error("no word within {} s; the end of its output: {}", limit_s, words.tail());
}

Result<double> time_to_word(const Words& words, double limit_s) {
  const auto start = Clock::now();
  DVM_ASSIGN(auto console, GuestConsole::start(words));
  const Status spoke = await_word(console, start, limit_s);
  const double took = seconds_since(start);
  console.stop();
  DVM_TRY(spoke);
  return took;
}

Status save_dvm(const RestoreGuests& guests, const std::string& dvm_run, const std::string& name,
                const std::string& file) {
  DVM_ASSIGN(const std::string ctl, sibling_program("dvm-ctl"));
  DVM_ASSIGN(auto console, GuestConsole::start({dvm_run, "--name", name, "--memory",
                                                fmt::to_string(guests.memory), "--kernel",
                                                guests.kernel, "--initrd", guests.initrd,
                                                "--append=" + append_for(guests.memory)}));
  DVM_TRY(await_word(console, Clock::now(), guests.limit_s));
  // What it says meanwhile is read, so that it never waits for us.
  const Status saved = run_program({ctl, "--name", name, "checkpoint", file, "--stop"}, [&] {
    (void)console.read(0);
    return Status();
  });
  console.stop();
  return saved;
}

Words qemu_at(const RestoreGuests& guests, const std::string& image, const std::string& monitor) {
  Words words = qemu_words({kLeanQ35, "virtio-rng-pci", 1, guests.memory, guests.kernel,
                            guests.initrd, append_for(guests.memory)});
  // Where its snapshots are.
  words.insert(words.end(), {"-drive", "if=none,id=snapshots,format=qcow2,file=" + image, "-qmp",
                             "unix:" + monitor + ",server=on,wait=off"});
  return words;
}

Status save_qemu(const RestoreGuests& guests, const std::string& image,
                 const std::string& monitor) {
  DVM_TRY(run_program({"qemu-img", "create", "-q", "-f", "qcow2", image, "1M"}));
  DVM_ASSIGN(auto console, GuestConsole::start(qemu_at(guests, image, monitor)));
  DVM_TRY(await_word(console, Clock::now(), guests.limit_s));
  DVM_ASSIGN(auto client, QmpClient::open(monitor));
  const auto said = client.ask("human-monitor-command", {{"command-line", "savevm warm"}});
  console.stop();
  if (!said.ok()) return said.error();
  const std::string why = said->is_string() ? said->get<std::string>() : "";
  return why.empty() ? Status() : error("QEMU: savevm: {}", why);
}

}  // namespace

Result<RestoreTimes> measure_restore_beside_qemu(
    const RestoreGuests& guests, const std::function<void(const std::string&)>& progress) {
  DVM_ASSIGN(const BenchFolder folder, BenchFolder::make());
  DVM_ASSIGN(const std::string dvm_run, sibling_program("dvm-run"));
  const std::string name = fmt::format("bench-restore-{}", ::getpid());
  const std::string image = folder.file("snapshots.qcow2"), monitor = folder.file("monitor");
  progress("dvm: boots, and is saved");
  DVM_TRY(save_dvm(guests, dvm_run, name, folder.file("checkpoint")));
  progress("QEMU: boots, and is saved");
  DVM_TRY(save_qemu(guests, image, monitor));
  const Words dvm = {dvm_run, "--resume", folder.file("checkpoint"), "--name", name};
  Words qemu = qemu_at(guests, image, monitor);
  qemu.insert(qemu.end(), {"-loadvm", "warm"});
  RestoreTimes times;
  for (u32 round = 1; round <= guests.rounds; ++round) {
    DVM_ASSIGN(const double dvm_s, time_to_word(dvm, guests.limit_s));
    DVM_ASSIGN(const double qemu_s, time_to_word(qemu, guests.limit_s));
    times.dvm_s.emplace_back(dvm_s);
    times.qemu_s.emplace_back(qemu_s);
    progress(fmt::format("round {} of {}: {:.2f} s beside QEMU's {:.2f} s", round, guests.rounds,
                         dvm_s, qemu_s));
  }
  return times;
}

}  // namespace dvm::tools
