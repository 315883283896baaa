#include "tools/socket_path.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "fabric/types.h"

namespace dvm::tools {
namespace {

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof(address.sun_path) - 1));
  return address;
}

// Whether somebody listens there. An error: what is there is no socket, or cannot be asked.
Result<bool> in_use(const std::string& path) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) < 0) {
    if (errno == ENOENT) return false;
    return sys_error(path);
  }
  if (!S_ISSOCK(st.st_mode)) return error("{}: is there already, and is no socket", path);
  const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const sockaddr_un address = address_of(path);
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ||
      errno != ECONNREFUSED) {
    return true;
  }
  if (::unlink(path.c_str()) < 0) return sys_error("unlink " + path);
  return false;
}

}  // namespace

Result<std::string> check_socket_path(std::string path) {
  constexpr std::size_t kMax = sizeof(sockaddr_un::sun_path) - 1;
  if (path.empty() || path.size() > kMax || path.find('\0') != path.npos) {
    return usage_error("found a socket path of {} bytes; allowed: 1 to {}", path.size(), kMax);
  }
  return path;
}

Result<ListeningSocket> ListeningSocket::open(const std::string& path) {
  DVM_ASSIGN(const bool used, in_use(path));
  if (used) return error("{}: in use: another process listens there", path);
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return sys_error("socket");
  const sockaddr_un address = address_of(path);
  struct stat st {};
  if (::fchmod(fd.get(), 0600) < 0 ||  // the mode that bind() gives the path
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0 ||
      ::listen(fd.get(), 8) < 0 || ::lstat(path.c_str(), &st) < 0) {
    return sys_error("listen at " + path);
  }
  return ListeningSocket(path, std::move(fd), st.st_ino);
}

ListeningSocket::~ListeningSocket() {
  if (path_.empty()) return;  // moved from
  struct stat st {};
  if (::lstat(path_.c_str(), &st) == 0 && S_ISSOCK(st.st_mode) && st.st_ino == inode_)
    ::unlink(path_.c_str());
}

}  // namespace dvm::tools
