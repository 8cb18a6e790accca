// Result<T>: a value or an Error. Errors have one of three outcomes, because the caller must act differently:
//   failed      it did not happen and repeating will not help
//   try_again   it did not happen and may work later
//   unknown     it may have happened: inspect before you retry
// Member names follow std::expected so that this can become an alias one day. Not thread-safe, as any value.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "core/check.h"

namespace skep {

enum class Outcome { failed, try_again, unknown };

constexpr const char* to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::failed:
      return "failed";
    case Outcome::try_again:
      return "try_again";
    case Outcome::unknown:
      return "unknown";
  }
  return "unknown";
}

/// A new code only where some caller behaves differently; otherwise the difference goes into the message.
enum class ErrorCode {
  generic,
  invalid_input,  // ours or the operator's; message names the place
  not_found,
  conflict,           // exists already, or another owner
  stale_epoch,        // an order of an older leader was refused
  permission_denied,  // message names the missing permission
  unauthenticated,
  unavailable,  // peer down, starting, refused, 503
  timed_out,
  malformed_reply,  // peer answered, but not what its contract says
  too_large,
  out_of_resources,
  unsupported,
};

const char* to_string(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::generic;
  Outcome outcome = Outcome::failed;
  std::string message;  // what failed, on which object; no trailing period
  std::string hint;     // what to do next; may be empty

  static Error failed(ErrorCode code, std::string message, std::string hint = {}) {
    return {code, Outcome::failed, std::move(message), std::move(hint)};
  }
  static Error try_again(ErrorCode code, std::string message, std::string hint = {}) {
    return {code, Outcome::try_again, std::move(message), std::move(hint)};
  }
  static Error unknown(ErrorCode code, std::string message, std::string hint = {}) {
    return {code, Outcome::unknown, std::move(message), std::move(hint)};
  }
  friend bool operator==(const Error&, const Error&) = default;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {
  }  // NOLINT(google-explicit-constructor): as std::expected
  Result(Error error)
      : state_(std::in_place_index<1>, std::move(error)) {
  }  // NOLINT(google-explicit-constructor): stands for std::unexpected

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  T& value() & {
    SKEP_ASSERT(has_value());
    return std::get<0>(state_);
  }
  const T& value() const& {
    SKEP_ASSERT(has_value());
    return std::get<0>(state_);
  }
  T&& value() && {
    SKEP_ASSERT(has_value());
    return std::get<0>(std::move(state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const& {
    SKEP_ASSERT(!has_value());
    return std::get<1>(state_);
  }
  Error&& error() && {
    SKEP_ASSERT(!has_value());
    return std::get<1>(std::move(state_));
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() = default;
  Result(Error error)
      : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor): stands for std::unexpected
  bool has_value() const { return !error_.has_value(); }
  explicit operator bool() const { return has_value(); }
  const Error& error() const {
    SKEP_ASSERT(error_.has_value());
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

}  // namespace skep
