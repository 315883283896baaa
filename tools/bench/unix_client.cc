#include "tools/bench/unix_client.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

namespace dvm::tools {

Result<Fd> connect_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return error("socket {}: the path is long", path);
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return sys_error("socket");
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0)
    return sys_error("connect " + path);
  return fd;
}

}  // namespace dvm::tools
