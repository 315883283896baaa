// The exit codes of every dvm command.
#pragma once

#include "fabric/result.h"

namespace dvm::tools {

inline constexpr int kExitOk = 0;
inline constexpr int kExitError = 1;   // the run failed
inline constexpr int kExitPanic = 3;   // the guest panicked under --on-panic exit
inline constexpr int kExitUsage = 64;  // bad command line or configuration (EX_USAGE of sysexits.h)

inline int exit_code_of(const Error& failure) {
  return failure.kind == ErrorKind::usage ? kExitUsage : kExitError;
}

}  // namespace dvm::tools
