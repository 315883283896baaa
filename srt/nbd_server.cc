#include "srt/nbd_server.h"

#include <fcntl.h>
#include <libnbd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <vector>

#include "fabric/spawn.h"

namespace dvm::srt {
namespace {

constexpr int kListenFd = 3;  // where systemd's protocol for inherited sockets has it

Result<Fd> listen_at(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return error("{}: found a path of {} bytes; allowed for a socket: {}", path, path.size(),
                 sizeof(address.sun_path) - 1);
  }
  std::copy(path.begin(), path.end(), address.sun_path);
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return sys_error("socket");
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0) {
    return sys_error("bind " + path);
  }
  if (::listen(socket.get(), 64) < 0) return sys_error("listen " + path);
  return socket;
}

std::vector<std::string> command_line(const DiskSpec& spec) {
  // The shell, because only the new process knows the LISTEN_PID it has to be given.
  std::vector<std::string> words = {
      "/bin/sh",
      "-c",
      "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"",
      "sh",
      "qemu-nbd",
      "--shared=0",
      "--format=" + spec.format,
      fmt::format("--cache={}", spec.cache == DiskCache::direct ? "none" : "writeback"),
      fmt::format("--discard={}", spec.discard ? "unmap" : "ignore")};
  if (spec.read_only) words.emplace_back("--read-only");
  words.emplace_back("--");
  words.push_back(spec.path);
  return words;
}

// What it said, on one line and without its own name in front.
std::string its_words(const Fd& output) {
  std::string text;
  std::array<char, 1024> part{};
  for (ssize_t n = 0; text.size() < 2 * kKiB; text.append(part.data(), static_cast<u64>(n))) {
    n = ::read(output.get(), part.data(), part.size());
    if (n == 0 || (n < 0 && errno != EINTR)) break;
    n = std::max<ssize_t>(n, 0);
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  }
  constexpr std::string_view kName = "qemu-nbd: ";
  if (text.starts_with(kName)) text.erase(0, kName.size());
  return text.empty() ? "qemu-nbd ended without a word" : text;
}

DiskGeometry geometry_of(nbd_handle* nbd, const DiskSpec& spec) {
  DiskGeometry g;
  g.bytes = static_cast<u64>(std::max<i64>(::nbd_get_size(nbd), 0));
  g.discard = spec.discard && ::nbd_can_trim(nbd) == 1;
  g.write_zeroes = ::nbd_can_zero(nbd) == 1;
  g.physical_bytes = 4096;
  return g;
}

}  // namespace

Result<NbdServer> NbdServer::start(const DiskSpec& spec, const std::string& socket_path) {
  // Found out here, and said in the same words as of a raw disk.
  struct stat st {};
  if (::stat(spec.path.c_str(), &st) < 0) {
    return usage_error("disk {}: {}", spec.path, std::strerror(errno));
  }
  if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
    return usage_error("disk {}: allowed: a regular file or a block device", spec.path);
  }
  NbdServer server;
  DVM_ASSIGN(Fd listener, listen_at(socket_path));
  server.socket_path_ = socket_path;
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) < 0) return sys_error("pipe2");
  const Fd output(ends[0]);
  Fd input(ends[1]);
  if (listener.get() == kListenFd) {  // dup2 to itself would leave it to be closed
    DVM_ASSIGN(listener, listener.duplicate());
  }
  DVM_ASSIGN(server.pid_, spawn({.words = command_line(spec),
                                 .descriptors = {{listener.get(), kListenFd}},
                                 .output = input.get()}));
  listener.reset();  // should it die, the connection below fails
  input.reset();
  server.connection_ = ::nbd_create();
  if (server.connection_ == nullptr ||
      ::nbd_connect_unix(server.connection_, socket_path.c_str()) < 0) {
    return usage_error("disk {}: {}", spec.path, its_words(output));
  }
  server.geometry_ = geometry_of(server.connection_, spec);
  if (server.geometry_.bytes == 0 || server.geometry_.bytes % 512 != 0) {
    return usage_error("disk {}: found {} bytes; allowed: a multiple of 512 above 0", spec.path,
                       server.geometry_.bytes);
  }
  if (!spec.read_only && ::nbd_can_multi_conn(server.connection_) != 1) {
    return error("disk {}: this qemu-nbd lets several nodes not write at once (needs QEMU 7.1)",
                 spec.path);
  }
  return server;
}

Status NbdServer::flush() const {
  if (::nbd_can_flush(connection_) != 1 || ::nbd_flush(connection_, 0) == 0) return {};
  return error("{}: flush: {}", socket_path_, ::nbd_get_error());
}

NbdServer::NbdServer(NbdServer&& other) noexcept
    : socket_path_(std::move(other.socket_path_)),
      pid_(std::exchange(other.pid_, -1)),
      connection_(std::exchange(other.connection_, nullptr)),
      geometry_(other.geometry_) {
  other.socket_path_.clear();
}

NbdServer::~NbdServer() {
  ::nbd_close(connection_);
  if (pid_ > 0) {
    ::kill(pid_, SIGTERM);  // ours and not reaped: the id is its own
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  if (!socket_path_.empty()) ::unlink(socket_path_.c_str());
}

}  // namespace dvm::srt
