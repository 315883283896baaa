#include "tools/bench/ram_disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <glob.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <functional>
#include <thread>

#include "tools/bench/bench_words.h"
#include "tools/bench/console_run.h"
#include "tools/bench/host_meters.h"
#include "tools/message.h"

namespace dvm::tools {
namespace {

constexpr const char* kSettings = "/sys/kernel/config";
constexpr const char* kDisks = "/sys/kernel/config/nullb";
constexpr const char* kName = "dvmbench";
constexpr auto kNap = std::chrono::milliseconds(50);
constexpr int kTries = 200;

// Whoever had the disk open may still be on his way out.
bool comes_true(const std::function<bool()>& so) {
  for (int i = 0; i < kTries; ++i) {
    if (so()) return true;
    std::this_thread::sleep_for(kNap);
  }
  return false;
}

// What modprobe takes as the root of this kernel's modules: in a lab host they are in the cache.
std::string modules_root(const std::string& release) {
  if (std::filesystem::exists("/lib/modules/" + release)) return "/";
  const std::string pattern = cache_folder() + "/kernels/*/modules/lib/modules/" + release;
  glob_t found{};
  std::string root = "/";
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0)
    root = std::filesystem::path(found.gl_pathv[0]) / "../../..";
  ::globfree(&found);
  return root;
}

Status load(const std::string& module, const std::string& setting) {
  utsname system{};
  ::uname(&system);
  const std::vector<std::string> words = {
      "modprobe", "-C",           "/dev/null", "-d",   modules_root(system.release),
      "-S",       system.release, module,      setting};
  DVM_ASSIGN(const ConsoleRun run, run_on_console({.words = words, .marker = "\n"}));
  if (run.wait_status == 0 && !run.timed_out) return {};
  return error("cannot load the kernel's {}: {}", module, one_line(run.tail));
}

}  // namespace

Result<RamDisk> RamDisk::open() {
  if (std::filesystem::exists("/sys/module/null_blk"))
    return error("the kernel's null_blk is loaded already (rmmod null_blk)");
  DVM_TRY(load("null_blk", "nr_devices=0"));
  RamDisk disk;
  if (std::filesystem::exists(kDisks)) return disk;
  if (::mount("none", kSettings, "configfs", 0, nullptr) < 0)
    return sys_error(fmt::format("mount configfs on {}", kSettings));
  return disk;
}

RamDisk::~RamDisk() {
  if (!loaded_) return;
  (void)remove();
  (void)comes_true(
      [] { return ::syscall(SYS_delete_module, "null_blk", O_NONBLOCK) == 0 || errno != EAGAIN; });
}

Status RamDisk::renew(u64 bytes, const DeviceClass& kind) {
  DVM_TRY(remove());
  const std::string item = fmt::format("{}/{}", kDisks, kName);
  if (::mkdir(item.c_str(), 0755) < 0) return sys_error("mkdir " + item);
  item_ = item;
  DVM_TRY(configure(bytes, kind));
  return find_device();
}

// One queue: what it works on side by side is for all that send requests together.
Status RamDisk::configure(u64 bytes, const DeviceClass& kind) const {
  const auto set = [&](const char* name, u64 value) {
    return write_kernel_file(item_ + "/" + name, fmt::to_string(value));
  };
  constexpr u64 kAtOnce = 0, kByTimer = 2;
  DVM_TRY(set("size", (bytes + kMiB - 1) / kMiB));
  DVM_TRY(set("blocksize", 512));
  DVM_TRY(set("memory_backed", 1));
  DVM_TRY(set("submit_queues", 1));
  DVM_TRY(set("hw_queue_depth", kind.at_once));
  DVM_TRY(set("irqmode", kind.latency_ns == 0 ? kAtOnce : kByTimer));
  if (kind.latency_ns != 0) DVM_TRY(set("completion_nsec", kind.latency_ns));
  DVM_TRY(set("mbps", kind.mib_per_second));
  return set("power", 1);
}

// Newer kernels name it as its settings are named, older ones by a number.
Status RamDisk::find_device() {
  DVM_ASSIGN(const std::string index, read_kernel_file(item_ + "/index"));
  const std::string numbered = "/dev/nullb" + index.substr(0, index.find('\n'));
  const std::string named = fmt::format("/dev/{}", kName);
  const bool found = comes_true([&] {
    for (const auto& path : {named, numbered}) {
      if (::access(path.c_str(), R_OK | W_OK) != 0) continue;
      device_ = path;
      return true;
    }
    return false;
  });
  return found ? Status{} : error("neither {} nor {} appears", named, numbered);
}

Status RamDisk::remove() {
  if (item_.empty()) return {};
  const bool gone = comes_true([&] { return ::rmdir(item_.c_str()) == 0 || errno == ENOENT; });
  if (!gone) return sys_error("rmdir " + item_);
  item_.clear();
  return {};
}

}  // namespace dvm::tools
