// qemu-nbd, which serves disks in formats other than raw, on a Unix socket.
//
// It ends by itself when its last connection has ended: the launcher holds one for as long as it
// lives, each node has one. It locks the image as QEMU does.
#pragma once

#include <string>

#include "fabric/fd.h"
#include "srt/disk.h"

struct nbd_handle;

namespace dvm::srt {

class NbdServer {
 public:
  // Serves spec.path on the socket `path`, which is made, and removed by the destructor. The wait
  // is for qemu-nbd to have opened the image. A usage error: it cannot; in its own words.
  static Result<NbdServer> start(const DiskSpec& spec, const std::string& socket_path);
  NbdServer(NbdServer&& other) noexcept;
  NbdServer& operator=(NbdServer&&) = delete;
  // Ends qemu-nbd: it finishes what is in flight, flushes and gives the image free. Once the
  // destructor has returned nothing of any client's is in flight any more.
  ~NbdServer();

  // All that was written is in the image file, also what qemu-nbd would write when it ends.
  Status flush() const;

  const std::string& socket_path() const { return socket_path_; }
  const DiskGeometry& geometry() const { return geometry_; }
  i32 pid() const { return pid_; }

 private:
  NbdServer() = default;

  std::string socket_path_;
  i32 pid_ = -1;
  nbd_handle* connection_ = nullptr;  // ours, idle
  DiskGeometry geometry_;
};

}  // namespace dvm::srt
