// The guest of `dvm-bench restore`: it answers each line that is typed at its serial port.
#pragma once

#include <functional>
#include <string>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::tools {

inline constexpr const char* kAsked = "go on";
// A line of its own, once its memory is in use and it waits for what is typed.
inline constexpr const char* kReady = "DVM-READY";
inline constexpr const char* kAnswer = "DVM-GOES-ON";

// Its kernel's command line. A quarter of its memory is in use.
std::string answering_append(u64 memory);
// `read`: what came within so many milliseconds. Error: no such line within the limit.
Status await_line(const char* line, const std::function<Result<std::string>(int)>& read,
                  double limit_s);

}  // namespace dvm::tools
