// Where a running guest can be found: one folder for each, with its lock, process id and control
// socket.
#pragma once

#include <string>
#include <vector>

#include "fabric/fd.h"

namespace dvm::tools {

// The folders that may hold guests, the preferred one first.
std::vector<std::string> runtime_roots();

// A guest's folder, while its dvm-run lives: the lock in it makes the name ours. What a dead guest
// of that name left is removed first; the destructor removes what we made.
class GuestFolder {
 public:
  static Result<GuestFolder> claim(const std::string& name);
  ~GuestFolder();
  GuestFolder(GuestFolder&&) = default;
  GuestFolder& operator=(GuestFolder&&) = delete;

  const std::string& path() const { return path_; }
  // A name of the socket that is short enough for bind(), wherever the folder lies.
  std::string socket_path() const;

 private:
  GuestFolder(std::string path, Fd folder, Fd lock)
      : path_(std::move(path)), folder_(std::move(folder)), lock_(std::move(lock)) {}

  Status fill() const;

  std::string path_;
  Fd folder_;
  Fd lock_;
};

// Where the log of a detached guest that ended with an error is kept, until the next of that name.
std::string kept_log_path(const std::string& folder);

struct RunningGuest {
  std::string name;
  i32 pid = 0;
  std::string folder;
  u64 uptime_s = 0;  // since its dvm-run was started
};
// Those whose lock is held, sorted by name.
std::vector<RunningGuest> running_guests();
// Where this user's ghosts can be had (tools/ghost_keeper.h): the folder that is made for them, and
// those there may be. No guest's name is like theirs.
Result<std::string> make_ghost_folder();
std::vector<std::string> ghost_folders();
// Removes what launchers that were killed left; the names of those guests.
std::vector<std::string> remove_stale_guests();

}  // namespace dvm::tools
