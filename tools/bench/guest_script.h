// A script for the guest's init, as it stands on a kernel's command line.
#pragma once

#include <string>
#include <string_view>

namespace dvm::tools {

std::string base64_of(std::string_view bytes);
// The whole command line: console on the serial port, quiet, that script.
std::string script_append(std::string_view script);
// So many processes that compute without end.
std::string busy_append(unsigned processes = 1);

}  // namespace dvm::tools
