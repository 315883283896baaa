#include "tools/runtime_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <thread>

#include "tools/run_settings.h"

namespace dvm::tools {
namespace {

constexpr const char* kGhosts = "/:ghosts";
constexpr const char* kFiles[] = {"control.sock", "pid", "log", "lock"};  // the lock goes last

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// A folder of ours that only we can write to: somebody else's in /tmp is not to be trusted.
Status make_private_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) < 0 && errno != EEXIST) return sys_error("mkdir " + path);
  struct stat st {};
  if (::lstat(path.c_str(), &st) < 0) return sys_error("lstat " + path);
  if (!S_ISDIR(st.st_mode) || st.st_uid != ::geteuid() || (st.st_mode & 022) != 0) {
    return error("{}: not a folder that only this user can write to", path);
  }
  if (::access(path.c_str(), W_OK | X_OK) < 0) return sys_error("access " + path);
  return {};
}

// The first root that can be had.
Result<std::string> make_root() {
  Status status;
  for (const auto& root : runtime_roots()) {
    status = make_private_folder(root);
    if (status.ok()) return root;
  }
  return error("no folder for the guest's control socket: {}", status.error().message);
}

// A lock of the open file, as flock's, but one that can be asked for without being taken: looking
// for guests must not be in the way of one that starts.
struct flock whole_file(short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return lock;
}

bool is_locked(const std::string& lock_path) {
  const auto file = Fd::open(lock_path, O_RDONLY);
  struct flock lock = whole_file(F_RDLCK);
  return file.ok() && ::fcntl(file->get(), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

i32 read_pid(const std::string& folder) {
  const auto file = Fd::open(folder + "/pid", O_RDONLY);
  char text[16] = {};
  if (!file || ::read(file->get(), text, sizeof(text) - 1) < 0) return 0;
  return static_cast<i32>(std::strtol(text, nullptr, 10));
}

// Takes the lock file; none when the holder of the moment was just removing it: try again.
Result<Fd> lock_once(const Fd& folder, const std::string& path) {
  const int raw = ::openat(folder.get(), "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (raw < 0 && errno == ENOENT) return Fd();
  if (raw < 0) return sys_error("open " + path + "/lock");
  Fd lock(raw);
  struct flock wanted = whole_file(F_WRLCK);
  if (::fcntl(lock.get(), F_OFD_SETLK, &wanted) < 0) {
    return sys_error("fcntl F_OFD_SETLK " + path + "/lock");
  }
  struct stat ours {
  }, there{};
  if (::fstat(lock.get(), &ours) < 0 || ::stat((path + "/lock").c_str(), &there) < 0 ||
      ours.st_ino != there.st_ino || ours.st_dev != there.st_dev) {
    return Fd();
  }
  return lock;
}

bool is_held(const Error& failure) {
  return failure.sys_errno == EAGAIN || failure.sys_errno == EACCES;
}

// Precondition: we hold the lock in it.
void remove_guest_folder(const Fd& folder, const std::string& path) {
  for (const char* file : kFiles) ::unlinkat(folder.get(), file, 0);
  ::rmdir(path.c_str());
}

// Calls `each` with the name of everything in a folder.
template <typename Each>
void for_each_entry(const std::string& path, Each&& each) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), ::closedir);
  if (!folder) return;
  while (const dirent* entry = ::readdir(folder.get())) each(std::string(entry->d_name));
}

// Removes what killed launchers left, whatever their guests' names were.
std::vector<std::string> remove_leftovers(const std::string& root) {
  std::vector<std::string> names, removed;
  for_each_entry(root, [&](std::string name) { names.push_back(std::move(name)); });
  for (const auto& name : names) {
    if (!check_name(name)) continue;
    const std::string path = root + "/" + name;
    auto folder = Fd::open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!folder || ::faccessat(folder->get(), "lock", F_OK, 0) < 0) continue;
    const auto lock = lock_once(*folder, path);
    if (!lock.ok() || !lock->valid()) continue;
    remove_guest_folder(*folder, path);
    removed.push_back(name);
  }
  return removed;
}

u64 seconds_since_change(const std::string& path) {
  struct stat st {};
  const time_t now = ::time(nullptr);
  if (::stat(path.c_str(), &st) < 0 || st.st_mtime > now) return 0;
  return static_cast<u64>(now - st.st_mtime);
}

}  // namespace

std::vector<std::string> runtime_roots() {
  if (const auto own = variable("DVM_RUNTIME_DIR"); !own.empty()) return {own};
  const auto xdg = variable("XDG_RUNTIME_DIR");
  return {(xdg.empty() ? "/run" : xdg) + "/dvm", fmt::format("/tmp/dvm-{}", ::geteuid())};
}

Result<GuestFolder> GuestFolder::claim(const std::string& name) {
  DVM_ASSIGN(const std::string root, make_root());
  remove_leftovers(root);
  const std::string path = root + "/" + name;
  bool held = false;
  for (int attempt = 0; attempt < 20; ++attempt) {
    if (attempt > 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    DVM_TRY(make_private_folder(path));
    auto folder = Fd::open(path, O_RDONLY | O_DIRECTORY);
    if (!folder && folder.error().sys_errno == ENOENT) continue;
    if (!folder) return folder.error();
    auto lock = lock_once(*folder, path);
    // Held for a moment only by one who removes leftovers, for good by a guest.
    held = !lock.ok() && is_held(lock.error());
    if (held) continue;
    if (!lock) return lock.error();
    if (!lock->valid()) continue;
    GuestFolder guest(path, folder.take(), lock.take());
    DVM_TRY(guest.fill());
    return guest;
  }
  if (held) return error("a guest named {} is running already (pid {})", name, read_pid(path));
  return error("{}: other guests of this name come and go too fast", path);
}

Status GuestFolder::fill() const {
  ::unlink(kept_log_path(path_).c_str());
  for (const char* file : {"control.sock", "pid", "log"}) ::unlinkat(folder_.get(), file, 0);
  DVM_ASSIGN(const Fd pid, Fd::open(path_ + "/pid", O_WRONLY | O_CREAT | O_TRUNC));
  const std::string text = fmt::format("{}\n", ::getpid());
  return pid.write_all(std::as_bytes(std::span(text)), path_ + "/pid");
}

GuestFolder::~GuestFolder() {
  if (lock_.valid()) remove_guest_folder(folder_, path_);  // else moved from
}

std::string GuestFolder::socket_path() const {
  return fmt::format("/proc/self/fd/{}/control.sock", folder_.get());
}

Result<std::string> make_ghost_folder() {
  DVM_ASSIGN(const std::string root, make_root());
  const std::string path = root + kGhosts;
  DVM_TRY(make_private_folder(path));
  return path;
}

std::vector<std::string> ghost_folders() {
  auto folders = runtime_roots();
  for (std::string& folder : folders) folder += kGhosts;
  return folders;
}

std::string kept_log_path(const std::string& folder) { return folder + ":log"; }

std::vector<std::string> remove_stale_guests() {
  std::vector<std::string> removed;
  for (const auto& root : runtime_roots()) {
    auto here = remove_leftovers(root);
    removed.insert(removed.end(), here.begin(), here.end());
  }
  return removed;
}

std::vector<RunningGuest> running_guests() {
  std::vector<RunningGuest> guests;
  for (const auto& root : runtime_roots()) {
    for_each_entry(root, [&](const std::string& name) {
      const std::string path = root + "/" + name;
      if (is_locked(path + "/lock")) {
        guests.push_back({name, read_pid(path), path, seconds_since_change(path + "/pid")});
      }
    });
  }
  std::sort(guests.begin(), guests.end(), [](auto& a, auto& b) { return a.name < b.name; });
  return guests;
}

}  // namespace dvm::tools
