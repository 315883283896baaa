// The files that a guest's disks are copied to when it is forked or saved: made by who asks for it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tools/disk_copy.h"

namespace dvm::tools {

class CopyFiles {
 public:
  // One for each disk that can be written, of a guest with this status: `stem`-disk0.img and so on
  // in `folder`, which stay if they are kept; without a folder, files without a name beside the
  // disks, which are gone with the last of those that have opened them, and our process.
  static Result<CopyFiles> make(const nlohmann::json& status,
                                const std::optional<std::string>& folder, const std::string& stem);
  // For a request `checkpoint`.
  nlohmann::json request() const;
  void keep();

 private:
  struct One {
    u32 disk;
    MadeFile file;
  };
  std::vector<One> files_;
};

}  // namespace dvm::tools
