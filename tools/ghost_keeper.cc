#include "tools/ghost_keeper.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <algorithm>
#include <asio.hpp>
#include <cstring>
#include <filesystem>
#include <list>

#include "tools/exit_code.h"
#include "tools/ghost_launcher.h"
#include "tools/message.h"
#include "tools/runtime_dir.h"

namespace dvm::tools {
namespace {

// A clone that has just been asked for has the processors to itself.
constexpr std::chrono::seconds kRefillAfter{1};

union Control {
  cmsghdr head;
  char bytes[CMSG_SPACE(sizeof(int))];
};

// A name of the socket that is short enough, wherever its folder lies.
sockaddr_un address_of(const Fd& folder, const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  fmt::format_to_n(address.sun_path, sizeof(address.sun_path) - 1, "/proc/self/fd/{}/{}",
                   folder.get(), name);
  return address;
}

Result<Fd> make_socket() {
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return sys_error("socket");
  return socket;
}

// Where we are asked: a file in the folder, named by our process id.
class GhostSocket {
 public:
  static Result<GhostSocket> listen() {
    DVM_ASSIGN(const std::string path, make_ghost_folder());
    DVM_ASSIGN(Fd folder, Fd::open(path, O_RDONLY | O_DIRECTORY));
    DVM_ASSIGN(Fd socket, make_socket());
    GhostSocket made(path, std::move(folder), std::move(socket));
    const sockaddr_un address = address_of(made.folder_, made.name_);
    ::unlinkat(made.folder_.get(), made.name_.c_str(), 0);  // of one that was killed
    if (::bind(made.socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) <
            0 ||
        ::listen(made.socket.get(), SOMAXCONN) < 0)
      return sys_error("bind " + path + "/" + made.name_);
    return made;
  }
  ~GhostSocket() {
    if (!folder_.valid()) return;  // moved from
    ::unlinkat(folder_.get(), name_.c_str(), 0);
    ::rmdir(path_.c_str());  // unless it is another's, too
  }
  GhostSocket(GhostSocket&&) = default;
  GhostSocket& operator=(GhostSocket&&) = delete;

  Fd socket;

 private:
  GhostSocket(std::string path, Fd folder, Fd made)
      : socket(std::move(made)), path_(std::move(path)), folder_(std::move(folder)) {}
  std::string path_;
  Fd folder_;
  std::string name_ = fmt::to_string(::getpid());
};

// The way to a ghost, with its process id.
void hand_over(const Fd& to, const Ghost& ghost) {
  const i32 pid = ghost.pid();
  const int socket = ghost.socket();
  iovec part{const_cast<i32*>(&pid), sizeof(pid)};
  Control control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = &control;
  header.msg_controllen = sizeof(control.bytes);
  cmsghdr* const c = CMSG_FIRSTHDR(&header);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(c), &socket, sizeof(socket));
  ::sendmsg(to.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT);  // who has gone has none
}

std::optional<Ghost> receive(const Fd& from) {
  i32 pid = 0;
  iovec part{&pid, sizeof(pid)};
  Control control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = &control;
  header.msg_controllen = sizeof(control.bytes);
  if (::recvmsg(from.get(), &header, MSG_CMSG_CLOEXEC) != sizeof(pid)) return {};
  const cmsghdr* const c = CMSG_FIRSTHDR(&header);
  if (c == nullptr || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int))) return {};
  int socket = -1;
  std::memcpy(&socket, CMSG_DATA(c), sizeof(socket));
  return Ghost(pid, Fd(socket));
}

// Ours alone, as the folder is: nobody else gets to be told what we run.
bool is_ours(const Fd& socket) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  return ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         peer.uid == ::geteuid();
}

std::optional<Ghost> take_from(const Fd& folder, const std::string& name) {
  constexpr timeval kPatience{2, 0};  // with a keeper that is stopped
  const auto socket = make_socket();
  const sockaddr_un address = address_of(folder, name);
  if (!socket ||
      ::setsockopt(socket->get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience)) < 0 ||
      ::connect(socket->get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0) {
    if (socket.ok() && errno == ECONNREFUSED) ::unlinkat(folder.get(), name.c_str(), 0);
    return {};
  }
  return is_ours(*socket) ? receive(*socket) : std::nullopt;
}

class Keeper {
 public:
  Keeper(const GhostRequest& wanted, const HostLook& host, std::string program, GhostSocket socket)
      : wanted_(wanted),
        words_(ghost_words(wanted, host)),
        program_(std::move(program)),
        place_(std::move(socket)),
        signals_(io_, SIGINT, SIGTERM, SIGCHLD),
        listening_(io_),
        refill_(io_) {}

  Result<int> run() {
    signals_.add(SIGHUP);
    listening_.assign(place_.socket.release());
    while (waiting_.size() < wanted_.count) DVM_TRY(start_one());
    say("{} (pid {}); dvm-ctl fork and dvm-run --resume --detach take them", waiting_text(),
        ::getpid());
    await_signal();
    await_request();
    io_.run();
    return kExitOk;
  }

 private:
  std::string waiting_text() const {
    return waiting_.size() == 1 ? "1 ghost waits" : fmt::format("{} ghosts wait", waiting_.size());
  }

  Status start_one() {
    DVM_ASSIGN(Ghost ghost, Ghost::start(program_, words_, false));
    waiting_.push_back(std::move(ghost));
    return {};
  }

  void await_signal() {
    signals_.async_wait([this](const asio::error_code& failure, int signal) {
      if (failure) return;
      if (signal != SIGCHLD) return io_.stop();
      collect();
      await_signal();
    });
  }

  void collect() {
    for (pid_t pid = 0; (pid = ::waitpid(-1, nullptr, WNOHANG)) > 0;) {
      // Others have become guests, and say themselves how they end.
      if (std::erase_if(waiting_, [&](const Ghost& ghost) { return ghost.pid() == pid; }) == 0)
        continue;
      say("the ghost with pid {} has ended; {}", pid, waiting_text());
      refill_soon();
    }
  }

  void await_request() {
    listening_.async_wait(asio::posix::stream_descriptor::wait_read,
                          [this](const asio::error_code& failure) {
                            if (failure) return;
                            serve();
                            await_request();
                          });
  }

  // Who asks while none waits is told so by the end of the connection, and does without.
  void serve() {
    const Fd asking(::accept4(listening_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!asking.valid() || !is_ours(asking) || waiting_.empty()) return;
    hand_over(asking, waiting_.front());
    say("the ghost with pid {} becomes a guest", waiting_.front().pid());
    waiting_.pop_front();
    refill_soon();
  }

  void refill_soon() {
    refill_.expires_after(kRefillAfter);  // the last one counts
    refill_.async_wait([this](const asio::error_code& failure) {
      if (failure) return;
      while (waiting_.size() < wanted_.count) {
        if (const Status started = start_one(); !started)
          return say("no other ghost: {}", started.error().message);
      }
      say("{}", waiting_text());
    });
  }

  const GhostRequest wanted_;
  const std::vector<std::string> words_;
  const std::string program_;
  GhostSocket place_;
  asio::io_context io_;
  asio::signal_set signals_;
  asio::posix::stream_descriptor listening_;
  asio::steady_timer refill_;
  std::list<Ghost> waiting_;  // their ends of the sockets closed, they end
};

}  // namespace

Result<int> keep_ghosts(const GhostRequest& wanted) {
  DVM_ASSIGN(const HostLook host, look_at_host());
  DVM_ASSIGN(auto program, sibling_program("dvm-run"));
  DVM_ASSIGN(auto socket, GhostSocket::listen());
  return Keeper(wanted, host, std::move(program), std::move(socket)).run();
}

std::optional<Ghost> take_ghost() {
  for (const std::string& path : ghost_folders()) {
    const auto folder = Fd::open(path, O_RDONLY | O_DIRECTORY);
    if (!folder) continue;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(path, none)) {
      if (auto ghost = take_from(*folder, entry.path().filename().string())) return ghost;
    }
  }
  return {};
}

}  // namespace dvm::tools
