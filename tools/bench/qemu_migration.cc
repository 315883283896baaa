#include "tools/bench/qemu_migration.h"

#include <chrono>
#include <optional>
#include <thread>

#include "tools/bench/bench_folder.h"
#include "tools/bench/bench_words.h"
#include "tools/bench/console_run.h"
#include "tools/bench/guest_script.h"
#include "tools/bench/qmp_client.h"

namespace dvm::tools {
namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds kNap{50};

std::vector<std::string> words_of(const MigrateOptions& o, const std::string& monitor) {
  auto words =
      qemu_words({kLeanQ35, "virtio-rng-pci", 1, o.memory, o.kernel, o.initrd, busy_append()});
  words.insert(words.end(), {"-qmp", "unix:" + monitor + ",server=on,wait=off"});
  return words;
}

Result<double> await_end(QmpClient& source, double limit_s) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(limit_s);
  while (std::chrono::steady_clock::now() < until) {
    DVM_ASSIGN(const json now, source.ask("query-migrate"));
    const std::string status = now.value("status", "");
    if (status == "completed" && now.contains("downtime")) return now["downtime"].get<double>();
    if (status == "failed" || status == "cancelled") return error("QEMU: migration {}", status);
    std::this_thread::sleep_for(kNap);
  }
  return error("QEMU: the migration does not end within {} s", limit_s);
}

// Between two that run; the second waits for what comes.
Result<double> migrate(const BenchFolder& folder, double limit_s) {
  DVM_ASSIGN(QmpClient source, QmpClient::open(folder.file("source")));
  DVM_ASSIGN(QmpClient target, QmpClient::open(folder.file("target")));
  auto begun = source.ask("migrate", {{"uri", "unix:" + folder.file("stream")}});
  if (!begun.ok()) return begun.error();
  DVM_ASSIGN(const double downtime, await_end(source, limit_s));
  DVM_ASSIGN(const json there, target.ask("query-status"));
  if (there.value("status", "") != "running") return error("QEMU: the guest did not arrive");
  return downtime;
}

void quit(const std::string& monitor) {
  if (auto client = QmpClient::open(monitor); client.ok()) (void)client->ask("quit");
}

}  // namespace

Result<double> qemu_downtime_ms(const MigrateOptions& options) {
  DVM_ASSIGN(const BenchFolder folder, BenchFolder::make());
  auto incoming = words_of(options, folder.file("target"));
  incoming.insert(incoming.end(), {"-incoming", "unix:" + folder.file("stream")});
  const ConsoleRequest target{.words = incoming,
                              .marker = "none",
                              .limit_s = options.limit_s,
                              .at_marker = {},
                              .on_line = {}};
  std::optional<Result<double>> downtime;
  const ConsoleRequest source{.words = words_of(options, folder.file("source")),
                              .marker = "DVM-USERSPACE",
                              .limit_s = options.limit_s,
                              .at_marker =
                                  [&] {
                                    std::thread other([&] { (void)run_on_console(target); });
                                    downtime = migrate(folder, options.limit_s);
                                    quit(folder.file("target"));
                                    other.join();
                                    quit(folder.file("source"));
                                  },
                              .on_line = {}};
  DVM_ASSIGN(const ConsoleRun run, run_on_console(source));
  if (!downtime) return error("QEMU's guest did not start: {}", run.tail);
  return std::move(*downtime);
}

}  // namespace dvm::tools
