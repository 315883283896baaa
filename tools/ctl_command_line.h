// The command line of dvm-ctl.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::tools {

struct CtlCommandLine {
  std::string command;
  std::optional<std::string> name;
  bool json = false;
  bool follow = false;
  bool blocks = false;                   // srt's
  std::string file;                      // dump's, checkpoint's and trace's
  bool stop = false;                     // checkpoint's
  bool incremental = false;              // checkpoint's
  std::optional<std::string> disks;      // checkpoint's and fork's: the folder for copies of them
  std::optional<u32> count;              // fork's; `file` is the clone's name
  std::vector<std::string> run_options;  // fork's, for dvm-run
  std::optional<u32> seconds;            // trace's
  std::string disk;                      // resize-disk's
  std::optional<u64> size;          // resize-disk's and balloon's; none: the file's, or no change
  std::optional<std::string> port;  // console's
  std::string policy;               // policy's; empty: no change
  std::optional<u32> number;        // migrate-vcpu's vCPU; evacuate's and remove-node's node
  std::optional<u32> to;            // migrate-vcpu's node
  std::optional<u64> history;       // bytes of earlier output that console shows first
  bool help = false;
  bool version = false;
};

// Its answer is a file.
bool writes_file(const CtlCommandLine& line);
// `words` without the program's name. Never throws.
Result<CtlCommandLine> parse_ctl_command_line(const std::vector<std::string>& words);
std::string ctl_help();

}  // namespace dvm::tools
