// Errors are values with context. A function that can fail returns Result<T>; nothing throws across
// a thread or a node.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>
#include <variant>

namespace dvm {

// Who can mend it decides the exit code: the user's words (64) or the run (1).
enum class ErrorKind { runtime, usage };

struct Error {
  ErrorKind kind = ErrorKind::runtime;
  int sys_errno = 0;  // the errno behind it, 0 if none
  std::string message;
};

template <typename... Args>
Error error(fmt::format_string<Args...> format, Args&&... args) {
  return {ErrorKind::runtime, 0, fmt::format(format, std::forward<Args>(args)...)};
}

// The command line, a configuration or a file named by them is wrong.
template <typename... Args>
Error usage_error(fmt::format_string<Args...> format, Args&&... args) {
  return {ErrorKind::usage, 0, fmt::format(format, std::forward<Args>(args)...)};
}

// `what` names the system call and its object: "open /dev/kvm". Reads errno.
Error sys_error(const std::string& what);

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : v_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: implicit by intent
  Result(Error failure) : v_(std::in_place_index<1>, std::move(failure)) {}  // NOLINT

  bool ok() const { return v_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() { return std::get<0>(v_); }
  const T& value() const { return std::get<0>(v_); }
  const Error& error() const { return std::get<1>(v_); }
  T take() { return std::move(std::get<0>(v_)); }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Error> v_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error failure) : failure_(std::move(failure)), ok_(false) {}  // NOLINT: implicit by intent
  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  const Error& error() const { return failure_; }

 private:
  Error failure_;
  bool ok_ = true;
};

using Status = Result<void>;

#define DVM_CONCAT_(a, b) a##b
#define DVM_CONCAT(a, b) DVM_CONCAT_(a, b)
// DVM_TRY(status_expression): return its error from this function, if it is one.
#define DVM_TRY(expr)                                 \
  do {                                                \
    if (auto dvm_status = (expr); !dvm_status.ok()) { \
      return dvm_status.error();                      \
    }                                                 \
  } while (false)
// DVM_ASSIGN(auto x, result_expression): x = its value, or return its error.
#define DVM_ASSIGN(decl, expr) DVM_ASSIGN_(DVM_CONCAT(dvm_result_, __LINE__), decl, expr)
#define DVM_ASSIGN_(tmp, decl, expr) \
  auto tmp = (expr);                 \
  if (!tmp.ok()) return tmp.error(); \
  decl = tmp.take()

}  // namespace dvm
