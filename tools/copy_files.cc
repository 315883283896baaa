#include "tools/copy_files.h"

#include <filesystem>
#include <nlohmann/json.hpp>

namespace dvm::tools {

using nlohmann::json;

Result<CopyFiles> CopyFiles::make(const json& status, const std::optional<std::string>& folder,
                                  const std::string& stem) {
  CopyFiles files;
  u32 n = 0;
  for (const json& disk : status.at("disks")) {
    const u32 number = n++;
    if (disk.at("readonly").get<bool>()) continue;
    const std::filesystem::path path = disk.at("path").get<std::string>();
    auto file = folder ? MadeFile::make(std::filesystem::absolute(*folder).string(),
                                        fmt::format("{}-disk{}.img", stem, number))
                       : MadeFile::make(path.parent_path().string(), "");
    if (!file) {
      return error("the copy of disk {}: {}{}", path.string(), file.error().message,
                   folder ? "" : "; allowed: --disks DIR");
    }
    files.files_.push_back({number, file.take()});
  }
  return files;
}

json CopyFiles::request() const {
  json all = json::array();
  for (const One& one : files_) all.push_back({{"disk", one.disk}, {"file", one.file.path()}});
  return all;
}

void CopyFiles::keep() {
  for (One& one : files_) one.file.keep();
}

}  // namespace dvm::tools
