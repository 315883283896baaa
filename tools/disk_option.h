// A disk of the guest, as the command line and the configuration file name it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "fabric/result.h"
#include "srt/disk_spec.h"

namespace dvm::tools {

struct DiskOption {
  srt::DiskSpec spec;
  std::string serial;  // what the guest is told; at most 20 characters (virtio 1.2 §5.2.6)
};

// IMG[,readonly=on|off][,format=raw|qcow2|...][,cache=direct|buffered][,discard=on|off]
// [,serial=TEXT]; a comma within a path or text is written twice, as for QEMU. Errors are usage
// errors and read "found X; allowed: Y"; the file itself is not looked at.
Result<DiskOption> parse_disk_option(std::string_view text);

// The same in a configuration file: an array of objects,
// [{"path": "a.img", "readonly": true, "format": "raw", "cache": "direct", "discard": false,
//   "serial": "A1"}], of which each needs a path.
Result<std::vector<DiskOption>> disk_options_of(const nlohmann::json& value);
// One of them, from which it can be read again.
nlohmann::json disk_option_json(const DiskOption& disk);

}  // namespace dvm::tools
