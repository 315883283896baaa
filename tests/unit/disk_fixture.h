// Disk images for tests, and a queue whose completions can be waited for.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fcntl.h>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "fabric/fd.h"
#include "srt/disk_queue.h"

namespace dvm::srt::testing {

// A file of that many bytes in a folder on a real file system (not tmpfs, which has no direct I/O).
class ImageFile {
 public:
  explicit ImageFile(u64 bytes, const std::string& folder = scratch_folder()) {
    path_ = folder + "/dvm-disk-XXXXXX";
    Fd file(::mkstemp(path_.data()));
    EXPECT_TRUE(file.valid()) << path_;
    EXPECT_EQ(::ftruncate(file.get(), static_cast<off_t>(bytes)), 0);
  }
  ~ImageFile() { ::unlink(path_.c_str()); }
  ImageFile(const ImageFile&) = delete;
  ImageFile& operator=(const ImageFile&) = delete;

  const std::string& path() const { return path_; }
  std::vector<std::byte> content() const {
    auto file = Fd::open(path_, O_RDONLY);
    std::vector<std::byte> bytes(file->size().value());
    EXPECT_TRUE(file->pread_all(bytes, 0, path_).ok());
    return bytes;
  }
  u64 allocated() const {
    struct stat st {};
    EXPECT_EQ(::stat(path_.c_str(), &st), 0);
    return static_cast<u64>(st.st_blocks) * 512;
  }

  static std::string scratch_folder() {
    const char* folder = std::getenv("DVM_TEST_SCRATCH");
    return folder != nullptr ? folder : "/var/tmp";
  }

 private:
  std::string path_;
};

// Collects completions by cookie.
class Completions {
 public:
  DiskQueue::OnComplete callback() {
    return [this](std::span<const DiskCompletion> batch) {
      const std::lock_guard lock(mutex_);
      for (const auto& c : batch) {
        EXPECT_TRUE(errors_.emplace(c.cookie, c.error).second) << "twice: " << c.cookie;
      }
      came_.notify_all();
    };
  }
  // The errno of that request, waiting for it.
  int of(u64 cookie) {
    std::unique_lock lock(mutex_);
    const bool came =
        came_.wait_for(lock, std::chrono::seconds(60), [&] { return errors_.contains(cookie); });
    EXPECT_TRUE(came) << "request " << cookie << " hangs";
    return came ? errors_[cookie] : -1;
  }
  std::size_t count() {
    const std::lock_guard lock(mutex_);
    return errors_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::map<u64, int> errors_;
};

// The exit code of a shell command, its output kept back.
inline int shell(const std::string& command) {
  const int status = std::system((command + " > /dev/null 2>&1 < /dev/null").c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

inline bool says(const std::string& message, const char* text) {
  return message.find(text) != std::string::npos;
}

// Page-aligned memory, shared with processes forked later.
class Pages {
 public:
  explicit Pages(u64 bytes) : bytes_(bytes) {
    at_ = static_cast<std::byte*>(
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    EXPECT_NE(at_, MAP_FAILED);
  }
  ~Pages() { ::munmap(at_, bytes_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  std::byte* data() const { return at_; }
  std::span<std::byte> span() const { return {at_, bytes_}; }

 private:
  u64 bytes_;
  std::byte* at_;
};

// A disk with its queue, and requests done one at a time.
class QueueUnderTest {
 public:
  explicit QueueUnderTest(const DiskSpec& spec, u32 depth = 32) {
    auto opened = Disk::open(spec);
    EXPECT_TRUE(opened.ok()) << (opened.ok() ? "" : opened.error().message);
    if (!opened) return;
    disk = std::make_unique<Disk>(opened.take());
    auto made = DiskQueue::open(*disk, completions.callback(), depth);
    EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message);
    if (made) queue = made.take();
  }
  // The errno.
  int run(DiskRequest request) {
    request.cookie = ++next_;
    EXPECT_EQ(queue->submit({&request, 1}), 1u);
    return completions.of(request.cookie);
  }
  int run(DiskOp op, u64 offset, std::span<std::byte> buffer) {
    const iovec one{buffer.data(), buffer.size()};
    return run({.op = op, .offset = offset, .bytes = buffer.size(), .buffers = {&one, 1}});
  }

  Completions completions;
  std::unique_ptr<Disk> disk;
  std::unique_ptr<DiskQueue> queue;

 private:
  u64 next_ = 1u << 30;
};

// Why io_uring cannot be used here; empty if it can.
inline std::string uring_refusal() {
  const ImageFile image(4096);
  const auto disk = Disk::open({.path = image.path()});
  if (!disk) return disk.error().message;
  const auto queue = DiskQueue::open(*disk, [](auto) {});
  return queue ? "" : queue.error().message;
}

#define DVM_NEEDS_URING()                                                    \
  if (const auto why = ::dvm::srt::testing::uring_refusal(); !why.empty()) { \
    GTEST_SKIP() << why;                                                     \
  }

}  // namespace dvm::srt::testing
