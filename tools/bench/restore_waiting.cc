#include "tools/bench/restore_waiting.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <span>
#include <thread>

#include "tools/bench/guest_console.h"
#include "tools/bench/qmp_client.h"
#include "tools/bench/restore_answer.h"
#include "tools/bench/unix_client.h"
#include "tools/child_output.h"
#include "tools/detached_launch.h"
#include "tools/exit_code.h"
#include "tools/node_process.h"

namespace dvm::tools {
namespace {

using Clock = std::chrono::steady_clock;
// A program that has said that it waits, or whose monitor answers, is given this to come to rest.
constexpr std::chrono::seconds kRest{3};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Result<std::string> read_within(const Fd& from, int timeout_ms) {
  pollfd ready{from.get(), POLLIN, 0};
  if (::poll(&ready, 1, timeout_ms) <= 0) return std::string();
  std::array<char, 4096> part;
  const ssize_t n = ::read(from.get(), part.data(), part.size());
  if (n < 0) return sys_error("read");
  if (n == 0) return error("it has ended");
  return std::string(part.data(), static_cast<std::size_t>(n));
}

Status ask_and_await(const std::string& socket, double limit_s) {
  DVM_ASSIGN(const Fd serial, connect_unix(socket));
  const std::string line = std::string(kAsked) + "\n";
  DVM_TRY(serial.write_all(std::as_bytes(std::span(line)), socket));
  return await_line(
      kAnswer, [&](int ms) { return read_within(serial, ms); }, limit_s);
}

}  // namespace

Result<RestoreGhost> RestoreGhost::start(const std::string& dvm_run) {
  DVM_ASSIGN(auto keeper, ConsoleChild::start({dvm_run, "--ghosts", "1"}));
  return RestoreGhost(std::move(keeper));
}

Status RestoreGhost::await_ghost(double limit_s) {
  std::string said;
  const auto start = Clock::now();
  while (said.find("1 ghost waits") == std::string::npos) {
    if (seconds_since(start) > limit_s) return error("no ghost within {} s: {}", limit_s, said);
    DVM_ASSIGN(const std::string part, read_within(keeper_.output(), 100));
    said += part;
  }
  std::this_thread::sleep_for(kRest);
  return {};
}

Result<double> RestoreGhost::time_to_answer(const std::string& file, const std::string& name,
                                            const std::string& socket, double limit_s) {
  DVM_TRY(await_ghost(limit_s));
  DVM_ASSIGN(const Fd said, make_memfd("dvm-said"));
  DVM_ASSIGN(const std::string ctl, sibling_program("dvm-ctl"));
  const auto start = Clock::now();
  auto launch = DetachedLaunch::in_ghost(
      {"--resume", file, "--name", name, "--detach", "--serial", "unix:" + socket}, said);
  if (!launch) return error("the ghost is gone");
  DVM_ASSIGN(const int code, launch->await());
  if (code != kExitOk) return error("{}: {}", name, last_line(said));
  const Status answered = ask_and_await(socket, limit_s);
  const double took = seconds_since(start);
  DVM_TRY(run_program({ctl, "--name", name, "stop"}));
  DVM_TRY(answered);
  return took;
}

Result<double> waiting_qemu_time_to_answer(const std::vector<std::string>& words,
                                           const std::string& monitor, const std::string& snapshot,
                                           double limit_s) {
  DVM_ASSIGN(auto console, GuestConsole::start(words));
  const auto run = [&]() -> Result<double> {
    DVM_ASSIGN(auto client, QmpClient::open(monitor));
    std::this_thread::sleep_for(kRest);
    const auto start = Clock::now();
    DVM_ASSIGN(const auto said,
               client.ask("human-monitor-command", {{"command-line", "loadvm " + snapshot}}));
    if (said.is_string() && !said.empty() && !said.get<std::string>().empty())
      return error("QEMU: loadvm: {}", said.get<std::string>());
    const auto went = client.ask("cont");
    if (!went.ok()) return went.error();
    DVM_TRY(console.type(kAsked));
    DVM_TRY(await_line(
        kAnswer, [&](int ms) { return console.read(ms); }, limit_s));
    return seconds_since(start);
  };
  auto took = run();
  console.stop();
  return took;
}

}  // namespace dvm::tools
