#include "tools/disk_option.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "tools/json_text.h"
#include "tools/run_settings.h"
#include "vmm/virtio/blk.h"

namespace dvm::tools {
namespace {

using nlohmann::json;

constexpr std::string_view kFormats[] = {"raw", "qcow2", "qed", "vdi", "vhdx", "vmdk", "vpc"};

Result<bool> read_switch(std::string_view text) {
  if (text == "on") return true;
  if (text == "off") return false;
  return usage_error("found '{}'; allowed: on, off", text);
}

Status set_path(DiskOption& disk, std::string text) {
  DVM_ASSIGN(disk.spec.path, check_path(std::move(text)));
  return {};
}

Status set_read_only(DiskOption& disk, std::string text) {
  DVM_ASSIGN(disk.spec.read_only, read_switch(text));
  return {};
}

Status set_discard(DiskOption& disk, std::string text) {
  DVM_ASSIGN(disk.spec.discard, read_switch(text));
  return {};
}

Status set_format(DiskOption& disk, std::string text) {
  if (std::ranges::find(kFormats, text) == std::end(kFormats)) {
    return usage_error("found '{}'; allowed: {}", text, fmt::join(kFormats, ", "));
  }
  disk.spec.format = std::move(text);
  return {};
}

Status set_cache(DiskOption& disk, std::string text) {
  if (text != "direct" && text != "buffered") {
    return usage_error("found '{}'; allowed: direct, buffered", text);
  }
  disk.spec.cache = text == "direct" ? srt::DiskCache::direct : srt::DiskCache::buffered;
  return {};
}

Status set_serial(DiskOption& disk, std::string text) {
  const bool printable = std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
  if (text.empty() || text.size() > vmm::kBlkIdBytes || !printable) {
    return usage_error("found '{}'; allowed: 1 to {} printable ASCII characters, no spaces", text,
                       vmm::kBlkIdBytes);
  }
  disk.serial = std::move(text);
  return {};
}

struct Key {
  std::string_view name;
  bool is_switch;
  Status (*set)(DiskOption& disk, std::string text);
};
constexpr std::array<Key, 5> kKeys = {{
    {"readonly", true, set_read_only},
    {"format", false, set_format},
    {"cache", false, set_cache},
    {"discard", true, set_discard},
    {"serial", false, set_serial},
}};

std::string key_names(std::string_view separator) {
  std::string names;
  for (const Key& key : kKeys)
    names += (names.empty() ? "" : std::string(separator)) + std::string(key.name);
  return names;
}

Result<const Key*> find_key(std::string_view name) {
  const auto* const key = std::ranges::find(kKeys, name, &Key::name);
  if (key == kKeys.end()) {
    return usage_error("found unknown '{}'; allowed: {}", name, key_names(", "));
  }
  return key;
}

// At single commas; two are one that is meant.
std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      parts.back() += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      parts.back() += text[i++];
    } else {
      parts.emplace_back();
    }
  }
  return parts;
}

Error at(std::string_view key, const Error& why) { return usage_error("{}: {}", key, why.message); }

Status set_from_text(DiskOption& disk, const std::string& part, std::set<std::string>& seen) {
  const auto equals = part.find('=');
  if (equals == part.npos) {
    return usage_error("found '{}'; allowed: NAME=VALUE, NAME one of {}", part, key_names(", "));
  }
  const std::string name = part.substr(0, equals);
  DVM_ASSIGN(const Key* const key, find_key(name));
  if (!seen.insert(name).second) return usage_error("{}: found twice; allowed: once", name);
  if (const auto status = key->set(disk, part.substr(equals + 1)); !status) {
    return at(name, status.error());
  }
  return {};
}

Status set_from_json(DiskOption& disk, const std::string& name, const json& value) {
  const bool is_path = name == "path";
  const auto key = is_path ? Result<const Key*>(nullptr) : find_key(name);
  if (!key) return usage_error("{}, path", key.error().message);
  if (!is_path && (*key)->is_switch) {
    if (!value.is_boolean()) return at(name, wrong_type(value, "true, false"));
    return (*key)->set(disk, value.get<bool>() ? "on" : "off");
  }
  if (!value.is_string()) return at(name, wrong_type(value, "a string"));
  const auto status = is_path ? set_path(disk, value.get<std::string>())
                              : (*key)->set(disk, value.get<std::string>());
  return status ? status : at(name, status.error());
}

Result<DiskOption> disk_option_of(const json& value) {
  if (!value.is_object()) return wrong_type(value, "an object, {\"path\": ...}");
  DiskOption disk;
  for (const auto& [name, member] : value.items()) DVM_TRY(set_from_json(disk, name, member));
  if (disk.spec.path.empty()) return usage_error("found no path; allowed: {{\"path\": ...}}");
  return disk;
}

}  // namespace

Result<DiskOption> parse_disk_option(std::string_view text) {
  const auto parts = split(text);
  DiskOption disk;
  DVM_TRY(set_path(disk, parts.front()));
  std::set<std::string> seen;
  for (const auto& part : std::span(parts).subspan(1)) DVM_TRY(set_from_text(disk, part, seen));
  return disk;
}

json disk_option_json(const DiskOption& disk) {
  json value = {{"path", disk.spec.path},
                {"readonly", disk.spec.read_only},
                {"format", disk.spec.format},
                {"discard", disk.spec.discard}};
  if (disk.spec.cache)
    value["cache"] = *disk.spec.cache == srt::DiskCache::direct ? "direct" : "buffered";
  if (!disk.serial.empty()) value["serial"] = disk.serial;
  return value;
}

Result<std::vector<DiskOption>> disk_options_of(const json& value) {
  if (!value.is_array()) return wrong_type(value, "an array of objects, [{\"path\": ...}]");
  std::vector<DiskOption> disks;
  for (const json& one : value) {
    auto disk = disk_option_of(one);
    if (!disk) return usage_error("disk {}: {}", disks.size(), disk.error().message);
    disks.push_back(disk.take());
  }
  return disks;
}

}  // namespace dvm::tools
