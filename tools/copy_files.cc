#include "tools/copy_files.h"

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
    const auto path = disk.at("path").get<std::string>();
    auto file = MadeFile::make(folder, fmt::format("{}-disk{}.img", stem, number), path);
    if (!file) {
      return error("the copy of disk {}: {}{}", path, file.error().message,
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
