// A folder for one benchmark's files and sockets, gone with it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

#include "fabric/fd.h"

namespace dvm::tools {

class BenchFolder {
 public:
  static Result<BenchFolder> make() {
    std::string path = "/tmp/dvm-bench-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) return sys_error("mkdtemp");
    return BenchFolder(std::move(path));
  }
  ~BenchFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  BenchFolder(BenchFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  BenchFolder& operator=(BenchFolder&&) = delete;
  std::string file(const char* name) const { return path_ + "/" + name; }

 private:
  explicit BenchFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace dvm::tools
