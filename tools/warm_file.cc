#include "tools/warm_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>

#include "fabric/part_file.h"
#include "tools/message.h"

namespace dvm::tools {
namespace {

constexpr std::chrono::seconds kEvery{60};

Result<std::string> read_text(const std::string& path) {
  DVM_ASSIGN(const Fd file, Fd::open(path, O_RDONLY | O_NONBLOCK));  // a pipe keeps nobody waiting
  DVM_ASSIGN(const u64 bytes, file.size());
  std::string text(std::min(bytes, srt::kMostWarmBytes + 1), '\0');
  DVM_TRY(file.pread_all(std::as_writable_bytes(std::span(text)), 0, path));
  return text;
}

Result<srt::WarmList> read_list(const std::string& path) {
  DVM_ASSIGN(const std::string text, read_text(path));
  auto list = srt::parse_warm_list(text);
  if (!list.ok()) return error("{}: {}", path, list.error().message);
  return list;
}

bool is_there(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

}  // namespace

Status WarmFile::check(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  if (std::error_code none; std::filesystem::is_directory(path, none))
    return usage_error("--srt-warm: found {}, a folder; allowed: the path of a file", path);
  if (::access(folder.c_str(), W_OK | X_OK) < 0)
    return usage_error("--srt-warm: {}", sys_error("access " + folder).message);
  return {};
}

void WarmFile::load(const std::string& path, vmm::Machine& machine, const GuestDisks& disks) {
  if (!is_there(path)) return;
  const auto list = read_list(path);
  if (!list.ok()) return say("--srt-warm: nothing is read ahead: {}", list.error().message);
  const WarmMatch match = match_warm_list(*list, warm_disks(disks, machine));
  for (const std::string& why : match.refused)
    say("--srt-warm: {}: {}: its blocks are not read ahead", path, why);
  if (machine.replicas()->kept_frames() != 0) return machine.replicas()->want(match.runs);
  say("--srt-warm: nothing is read ahead: this pool has no room for copies of blocks");
}

WarmFile::WarmFile(std::string path, vmm::Machine& machine, const GuestDisks& disks)
    : path_(std::move(path)),
      machine_(machine),
      disks_(disks),
      began_ns_(fabric::monotonic_ns()),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

WarmFile::~WarmFile() {
  thread_.request_stop();
  thread_.join();
  if (may_replace()) write();
}

void WarmFile::run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  for (;;) {
    woken_.wait_for(lock, stop, kEvery, [] { return false; });
    if (stop.stop_requested()) return;
    // What is still being read ahead the guest has had no time to want.
    const srt::ReplicaTable& table = *machine_.replicas();
    if (table.warmed().load() >= table.wanted().size()) write();
  }
}

bool WarmFile::may_replace() const {
  const auto reason = machine_.state().control.stop_reason.load();
  const u64 ran_ns = fabric::monotonic_ns() - began_ns_;
  return reason == vmm::StopReason::shutdown || !is_there(path_) ||
         ran_ns >= static_cast<u64>(std::chrono::nanoseconds(kEvery).count());
}

void WarmFile::write() {
  const srt::ReplicaFigures& figures = machine_.replicas()->figures();
  const u64 told = figures.put.load() + figures.blocks_served.load();
  if (told == told_) return;
  const srt::WarmList list = warm_list_of(machine_, warm_disks(disks_, machine_));
  if (list.runs.empty()) return;
  std::string text = srt::warm_text(list);
  if (text != written_) {
    if (const Status done = write(text); !done.ok())
      return say("--srt-warm: not written: {}", done.error().message);
  }
  written_ = std::move(text);
  told_ = told;
}

Status WarmFile::write(const std::string& text) const {
  ::unlink((path_ + ".part").c_str());  // of one that was killed in it
  DVM_ASSIGN(auto file, fabric::PartFile::open(path_));
  DVM_TRY(file.write(std::as_bytes(std::span(text)), 0));
  return file.finish(text.size());
}

}  // namespace dvm::tools
