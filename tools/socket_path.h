// Unix sockets at a path the user has chosen.
#pragma once

#include <string>

#include "fabric/fd.h"

namespace dvm::tools {

// 1 to 107 bytes: what bind() takes (unix(7)).
Result<std::string> check_socket_path(std::string path);

// A listening socket at a path; the destructor removes it there, if it is still ours. A socket that
// nobody listens on any more is replaced; anything else at that path is an error.
class ListeningSocket {
 public:
  static Result<ListeningSocket> open(const std::string& path);
  ~ListeningSocket();
  ListeningSocket(ListeningSocket&&) = default;
  ListeningSocket& operator=(ListeningSocket&&) = delete;

  Fd take_fd() { return std::move(fd_); }

 private:
  ListeningSocket(std::string path, Fd fd, u64 inode)
      : path_(std::move(path)), fd_(std::move(fd)), inode_(inode) {}
  std::string path_;
  Fd fd_;
  u64 inode_;
};

}  // namespace dvm::tools
