// Runs in the lab host, started by its init, and runs one command there in a chroot: takes a job
// from the port, sends the command's output as it comes, and its exit code. See frame.h.
// usage: agent ROOT ORIGINAL   (ROOT: what to chroot into; ORIGINAL: the build machine's files
// without the file systems mounted over them)
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "frame.h"

namespace dvm::lab {
namespace {

constexpr int kAliveEveryMs = 2000;

struct Port {
  int fd = -1;
  std::string received;
  std::time_t spoke = 0;

  void send(Kind kind, std::string_view bytes = {}) {
    const std::string frame = make_frame(kind, bytes);
    for (std::size_t sent = 0; sent < frame.size();) {
      const ssize_t size = write(fd, frame.data() + sent, frame.size() - sent);
      if (size > 0) sent += static_cast<std::size_t>(size);
      if (size < 0 && errno != EINTR && errno != EAGAIN) std::perror("lab agent: port"), _exit(1);
    }
    spoke = std::time(nullptr);
  }
  void receive() {
    char buffer[kChunk];
    const ssize_t size = read(fd, buffer, sizeof buffer);
    if (size > 0) received.append(buffer, static_cast<std::size_t>(size));
    if (size == 0) usleep(10'000);  // the host's end is not open yet
  }
  Frame await() {
    Frame frame;
    while (!take_frame(received, frame)) receive();
    return frame;
  }
};

// The command, and the ends of its streams that are ours; a stream that is closed is -1.
struct Child {
  pid_t pid = -1;
  int pidfd = -1, input = -1, output = -1, error = -1;
  bool terminal = false;
  std::string pending;  // for its input
  bool input_ends = false;
};

void close_stream(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

void make_folders(const std::string& path) {
  for (std::size_t end = 1; end != path.npos;) {
    end = path.find('/', end + 1);
    mkdir(path.substr(0, end).c_str(), 0755);
  }
}

// /tmp and /run are empty here; what the job needs of the caller's comes back: the folder it runs
// in and the cache (read-only), and the one it may write to.
std::string prepare(const Job& job, const std::string& root, const std::string& original) {
  if (!job.out.empty()) {
    make_folders(root + job.out);
    // cache=mmap: written through at once, and can be mapped.
    if (mount("out", (root + job.out).c_str(), "9p", 0,
              "trans=virtio,version=9p2000.L,cache=mmap,msize=262144") != 0)
      return "cannot mount " + job.out + ": " + std::strerror(errno);
  }
  for (const std::string& path : {job.folder, job.cache}) {
    const std::string folder = root + path;
    if (path.empty() || access(folder.c_str(), F_OK) == 0) continue;
    make_folders(folder);
    mount((original + path).c_str(), folder.c_str(), nullptr, MS_BIND, nullptr);
  }
  return "";
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (const auto& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

[[noreturn]] void become(const Job& job, const std::string& root, int tell) {
  auto environment = pointers(job.environment), command = pointers(job.command);
  signal(SIGPIPE, SIG_DFL);
  setpriority(PRIO_PROCESS, 0, 0);
  if (chroot(root.c_str()) == 0 && chdir(job.folder.c_str()) == 0) {
    for (const auto& text : job.environment)
      if (text.starts_with("PATH=")) setenv("PATH", text.c_str() + 5, 1);  // where execvpe looks
    execvpe(command[0], command.data(), environment.data());
  }
  const int error = errno;
  (void)!write(tell, &error, sizeof error);
  _exit(127);
}

void open_terminal(Child& child, const std::string& size, const std::string& root, int& theirs) {
  const int master = open((root + "/dev/ptmx").c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
  int unlock = 0;
  ioctl(master, TIOCSPTLCK, &unlock);
  theirs = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  winsize window{};
  std::sscanf(size.c_str(), "%hu %hu", &window.ws_row, &window.ws_col);
  ioctl(theirs, TIOCSWINSZ, &window);
  child.output = master;
  child.input = dup(master);
  child.terminal = true;
}

// Starts the command; the answer is 0 or the error number for which it could not be.
int start(const Job& job, const std::string& root, Child& child) {
  int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1}, tell[2];
  if (!job.terminal.empty()) {
    open_terminal(child, job.terminal, root, in[0]);
    out[1] = err[1] = in[0];
  } else {
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0)
      return errno;
    child.input = in[1], child.output = out[0], child.error = err[0];
    fcntl(child.error, F_SETFL, O_NONBLOCK);
  }
  fcntl(child.input, F_SETFL, O_NONBLOCK);
  fcntl(child.output, F_SETFL, O_NONBLOCK);
  if (pipe2(tell, O_CLOEXEC) != 0) return errno;
  child.pid = fork();
  if (child.pid == 0) {
    setsid();
    dup2(in[0], 0), dup2(out[1], 1), dup2(err[1], 2);
    if (child.terminal) ioctl(0, TIOCSCTTY, 0);
    become(job, root, tell[1]);
  }
  close(tell[1]), close(in[0]);
  if (!child.terminal) close(out[1]), close(err[1]);
  int error = 0;
  if (read(tell[0], &error, sizeof error) <= 0) error = 0;
  close(tell[0]);
  child.pidfd = static_cast<int>(syscall(SYS_pidfd_open, child.pid, 0));
  return error;
}

// Sends what the stream has; false when it has nothing now.
bool forward(Port& port, int& fd, Kind kind) {
  if (fd < 0) return false;
  char buffer[kChunk];
  const ssize_t size = read(fd, buffer, sizeof buffer);
  if (size > 0) port.send(kind, {buffer, static_cast<std::size_t>(size)});
  if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR)) close_stream(fd);
  return size > 0;
}

void feed(Child& child) {
  if (child.input < 0) return child.pending.clear();
  const ssize_t size = write(child.input, child.pending.data(), child.pending.size());
  if (size > 0) child.pending.erase(0, static_cast<std::size_t>(size));
  if (size < 0 && errno != EAGAIN && errno != EINTR) close_stream(child.input);
  if (child.pending.empty() && child.input_ends) close_stream(child.input);
}

void obey(const Frame& frame, Child& child) {
  switch (frame.kind) {
    case Kind::kInput: child.pending += frame.bytes; break;
    case Kind::kInputEnd: child.input_ends = !child.terminal; break;
    case Kind::kOutputGone: close_stream(child.output); break;
    case Kind::kErrorGone: close_stream(child.error); break;
    default: break;
  }
  feed(child);
}

int attend(Port& port, Child& child) {
  for (;;) {
    // While input waits for the command to read it, no more is taken from the port.
    pollfd polled[] = {
        {child.pidfd, POLLIN, 0},
        {child.pending.empty() ? port.fd : -1, POLLIN, 0},
        {child.output, POLLIN, 0},
        {child.error, POLLIN, 0},
        {child.pending.empty() ? -1 : child.input, POLLOUT, 0},
    };
    poll(polled, 5, kAliveEveryMs);
    if (std::time(nullptr) - port.spoke >= kAliveEveryMs / 1000) port.send(Kind::kAlive);
    if (polled[1].revents != 0) {
      port.receive();
      for (Frame frame; take_frame(port.received, frame);) obey(frame, child);
    }
    if (polled[2].revents != 0) forward(port, child.output, Kind::kOutput);
    if (polled[3].revents != 0) forward(port, child.error, Kind::kError);
    if (polled[4].revents != 0) feed(child);
    if (polled[0].revents != 0) break;
  }
  // It ended. What it wrote before is still in the pipes; what a left-over of it writes later is
  // lost.
  constexpr int kFullPipe = 64;  // chunks; more can only come from a left-over that goes on writing
  for (int i = 0; i < kFullPipe && forward(port, child.output, Kind::kOutput);) ++i;
  for (int i = 0; i < kFullPipe && forward(port, child.error, Kind::kError);) ++i;
  int status = 0;
  waitpid(child.pid, &status, 0);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// The only port there is; its number depends on the other devices. The driver finds it some time
// after it is loaded.
int open_port() {
  int fd = -1;
  for (int i = 0; i < 1000 && fd < 0; ++i) {
    glob_t found{};
    if (glob("/dev/vport*p1", 0, nullptr, &found) == 0)
      fd = open(found.gl_pathv[0], O_RDWR | O_CLOEXEC);
    globfree(&found);
    if (fd < 0) usleep(10'000);
  }
  return fd;
}

int run(Port& port, const Job& job, const std::string& root, const std::string& original) {
  if (const std::string problem = prepare(job, root, original); !problem.empty()) {
    port.send(Kind::kStarted);
    port.send(Kind::kError, "lab: " + problem + "\n");
    return 125;
  }
  Child child;
  const int error = start(job, root, child);
  port.send(Kind::kStarted);
  if (error != 0) {
    port.send(Kind::kError, "lab: " + job.command[0] + ": " + std::strerror(error) + "\n");
    return error == ENOENT ? 127 : 126;
  }
  return attend(port, child);
}

}  // namespace
}  // namespace dvm::lab

int main(int argc, char** argv) {
  using namespace dvm::lab;
  if (argc != 3) return 64;
  signal(SIGPIPE, SIG_IGN);
  setpriority(PRIO_PROCESS, 0, -10);  // to say that we live, however busy the command is
  Port port;
  port.fd = open_port();
  if (port.fd < 0) return std::perror("lab agent: no port"), 1;
  port.send(Kind::kReady);
  Frame frame = port.await();
  while (frame.kind != Kind::kJob) frame = port.await();
  const int code = run(port, decode(frame.bytes), argv[1], argv[2]);
  sync();  // the writable share, before the host ends us
  const char byte = static_cast<char>(code);
  port.send(Kind::kExit, {&byte, 1});
  pause();  // the host ends the machine
}
