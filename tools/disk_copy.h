// A disk as it was at one instant, and what others write on top of it; by qemu-img.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "fabric/fd.h"
#include "fabric/types.h"

namespace dvm::tools {

// Where a copy goes: an empty file.
struct DiskCopy {
  u32 disk = 0;
  std::string file;
};

// All of a disk of `bytes` into the file `to`, raw, with holes where it has none or zeros; shares
// its blocks where the file system can. `from`: as qemu-img names it, raw to its reader; nobody
// writes meanwhile. `go_on`: see run_program. Durable when it returns.
Status copy_disk(const std::string& from, u64 bytes, const std::string& to,
                 const std::function<Status()>& go_on);

// Makes the empty file `path` a qcow2 image of `bytes` that reads as the raw file `base` until it
// is written. Both are opened by these names for as long as it is in use.
Status make_overlay(const std::string& path, const std::string& base, u64 bytes);

// The path by which other processes open a file of ours, whatever its name.
std::string path_of_descriptor(int fd);

// An empty file of our own.
class MadeFile {
 public:
  // `name` in `folder`, which must be new; or, without a folder, a file beside `disk` that is
  // nowhere to be found and gone with its last user. Error: also a disk that is a device, whose
  // folder is memory.
  static Result<MadeFile> make(const std::optional<std::string>& folder, const std::string& name,
                               const std::string& disk);
  ~MadeFile();  // removed, unless it was kept
  MadeFile(MadeFile&& other) noexcept;
  MadeFile& operator=(MadeFile&&) = delete;

  // For other processes of this host, as long as we have it.
  std::string path() const;
  bool has_name() const { return !name_.empty(); }
  void keep() { kept_ = true; }

 private:
  MadeFile(Fd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  Fd fd_;
  std::string name_;
  bool kept_ = false;
};

}  // namespace dvm::tools
