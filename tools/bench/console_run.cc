#include "tools/bench/console_run.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>

#include "tools/bench/console_child.h"
#include "tools/message.h"

namespace dvm::tools {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Until the process has ended and its last output is read, or the time is over.
class Watch {
 public:
  Watch(const ConsoleRequest& request, ConsoleChild child, Clock::time_point start)
      : request_(request),
        child_(std::move(child)),
        start_(start),
        marker_(request.marker, request.on_line) {}

  Result<ConsoleRun> run() {
    bool ended = false;
    while (!ended) {
      const double left = request_.limit_s - seconds_since(start_);
      if (left <= 0) break;
      std::array<pollfd, 2> fds = {
          {{child_.output().get(), POLLIN, 0}, {child_.ended().get(), POLLIN, 0}}};
      const int ready = ::poll(fds.data(), fds.size(), static_cast<int>(left * 1000) + 1);
      if (ready < 0 && errno != EINTR) return sys_error("poll");
      if (ready <= 0) continue;
      if (fds[0].revents != 0) read_output();
      ended = fds[1].revents != 0;
    }
    finish(!ended);
    return std::move(result_);
  }

 private:
  void read_output() {
    std::array<char, 4096> part;
    const ssize_t n = ::read(child_.output().get(), part.data(), part.size());
    if (n <= 0) {
      child_.close_output();  // poll leaves a closed one alone
      return;
    }
    if (!marker_.feed({part.data(), static_cast<std::size_t>(n)})) return;
    result_.marker_s = seconds_since(start_);
    result_.marker_line = marker_.line();
    if (request_.at_marker) request_.at_marker();
  }

  void finish(bool timed_out) {
    if (timed_out) child_.signal(SIGKILL);
    result_.timed_out = timed_out;
    result_.wait_status = child_.wait();
    result_.end_s = seconds_since(start_);
    pollfd more{child_.output().get(), POLLIN, 0};
    while (child_.output().valid() && ::poll(&more, 1, 0) > 0) read_output();
    result_.tail = marker_.tail();
  }

  const ConsoleRequest& request_;
  ConsoleChild child_;
  Clock::time_point start_;
  MarkerWatch marker_;
  ConsoleRun result_;
};

}  // namespace

bool MarkerWatch::feed(std::string_view part) {
  text_ += part;
  const bool had = !found_.empty();
  for (auto end = text_.find('\n', next_); end != std::string::npos;
       end = text_.find('\n', next_)) {
    const auto line = std::string_view(text_).substr(next_, end - next_);
    if (found_.empty() && line.starts_with(marker_)) found_ = one_line(line);
    if (on_line_) on_line_(line);
    next_ = end + 1;
  }
  return !had && !found_.empty();
}

std::string MarkerWatch::tail() const {
  constexpr std::size_t kBytes = 400;
  return text_.size() <= kBytes ? text_ : text_.substr(text_.size() - kBytes);
}

Result<ConsoleRun> run_on_console(const ConsoleRequest& request) {
  const auto start = Clock::now();
  DVM_ASSIGN(auto child, ConsoleChild::start(request.words));
  return Watch(request, std::move(child), start).run();
}

}  // namespace dvm::tools
