#include "tools/bench/restore_guest.h"

#include <unistd.h>

#include <chrono>

#include "tools/bench/bench_folder.h"
#include "tools/bench/bench_words.h"
#include "tools/bench/guest_console.h"
#include "tools/bench/qmp_client.h"
#include "tools/bench/restore_answer.h"
#include "tools/bench/restore_waiting.h"
#include "tools/child_output.h"
#include "tools/node_process.h"

namespace dvm::tools {
namespace {

using Clock = std::chrono::steady_clock;
using Words = std::vector<std::string>;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Status await_said(const char* line, GuestConsole& console, double limit_s) {
  return await_line(
      line, [&](int ms) { return console.read(ms); }, limit_s);
}

Result<double> time_to_answer(const Words& words, double limit_s) {
  const auto start = Clock::now();
  DVM_ASSIGN(auto console, GuestConsole::start(words));
  Status answered = console.type(kAsked);
  if (answered.ok()) answered = await_said(kAnswer, console, limit_s);
  const double took = seconds_since(start);
  console.stop();
  DVM_TRY(answered);
  return took;
}

Status save_dvm(const RestoreGuests& guests, const std::string& dvm_run, const std::string& name,
                const std::string& file) {
  DVM_ASSIGN(const std::string ctl, sibling_program("dvm-ctl"));
  DVM_ASSIGN(auto console, GuestConsole::start({dvm_run, "--name", name, "--memory",
                                                fmt::to_string(guests.memory), "--kernel",
                                                guests.kernel, "--initrd", guests.initrd,
                                                "--append=" + answering_append(guests.memory)}));
  DVM_TRY(await_said(kReady, console, guests.limit_s));
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
                            guests.initrd, answering_append(guests.memory)});
  // Where its snapshots are.
  words.insert(words.end(), {"-drive", "if=none,id=snapshots,format=qcow2,file=" + image, "-qmp",
                             "unix:" + monitor + ",server=on,wait=off"});
  return words;
}

Status save_qemu(const RestoreGuests& guests, const std::string& image,
                 const std::string& monitor) {
  DVM_TRY(run_program({"qemu-img", "create", "-q", "-f", "qcow2", image, "1M"}));
  DVM_ASSIGN(auto console, GuestConsole::start(qemu_at(guests, image, monitor)));
  DVM_TRY(await_said(kReady, console, guests.limit_s));
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
  Words waiting = qemu_at(guests, image, monitor), qemu = waiting;
  qemu.insert(qemu.end(), {"-loadvm", "warm"});
  waiting.emplace_back("-S");
  DVM_ASSIGN(auto ghost, RestoreGhost::start(dvm_run));
  RestoreTimes times;
  for (u32 round = 1; round <= guests.rounds; ++round) {
    DVM_ASSIGN(const double dvm_s, time_to_answer(dvm, guests.limit_s));
    DVM_ASSIGN(const double qemu_s, time_to_answer(qemu, guests.limit_s));
    DVM_ASSIGN(const double ghost_s,
               ghost.time_to_answer(folder.file("checkpoint"), fmt::format("{}-{}", name, round),
                                    folder.file("serial"), guests.limit_s));
    DVM_ASSIGN(const double monitor_s,
               waiting_qemu_time_to_answer(waiting, monitor, "warm", guests.limit_s));
    times.dvm_s.emplace_back(dvm_s);
    times.qemu_s.emplace_back(qemu_s);
    times.ghost_s.emplace_back(ghost_s);
    times.monitor_s.emplace_back(monitor_s);
    progress(
        fmt::format("round {} of {}: {:.2f} s beside QEMU's {:.2f} s; in programs that wait "
                    "{:.2f} s beside {:.2f} s",
                    round, guests.rounds, dvm_s, qemu_s, ghost_s, monitor_s));
  }
  return times;
}

}  // namespace dvm::tools
