#include "core/result.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <csignal>
#include <memory>
#include <set>
#include <string_view>

namespace result_test {

using namespace skep;

namespace {

/// Whether our own assertion, which stays on in release, ends the process; it is tried in a child.
template <typename Act>
bool is_refused(Act act) {
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);  // not Catch's
    ::dup2(ends[1], STDERR_FILENO);
    [&]() noexcept { act(); }();
    ::_exit(0);
  }
  ::close(ends[1]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  std::array<char, 400> said{};
  const ssize_t size = ::read(ends[0], said.data(), said.size());
  ::close(ends[0]);
  const std::string_view text(said.data(), size < 0 ? 0 : static_cast<std::size_t>(size));
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
         text.find("skep: broken assertion: ") != std::string_view::npos;
}

Error lost() {
  return Error::unknown(ErrorCode::timed_out, "no reply", "look before you try again");
}

}  // namespace

TEST_CASE("result: an error keeps its outcome, code, message and hint", "[unit][core][result]") {
  struct Case {
    Error (*make)(ErrorCode, std::string, std::string);
    Outcome outcome;
    std::string text;
  };
  for (const Case& c : {Case{Error::failed, Outcome::failed, "failed"},
                        {Error::try_again, Outcome::try_again, "try_again"},
                        {Error::unknown, Outcome::unknown, "unknown"}}) {
    const Result<int> result = c.make(ErrorCode::conflict, "it is there", "remove it");
    const Result<void> nothing = result.error();
    CHECK(to_string(c.outcome) == c.text);
    for (const Error& error : {result.error(), nothing.error()}) {
      CHECK(error.outcome == c.outcome);
      CHECK(error.code == ErrorCode::conflict);
      CHECK(error.message == "it is there");
      CHECK(error.hint == "remove it");
    }
  }
  CHECK(Error::failed(ErrorCode::generic, "m").hint.empty());
  CHECK(Error().outcome == Outcome::failed);
  CHECK(Error().code == ErrorCode::generic);
}

TEST_CASE("result: errors are equal when all of their parts are", "[unit][core][result]") {
  const Error error = Error::failed(ErrorCode::not_found, "m", "h");
  CHECK(error == Error::failed(ErrorCode::not_found, "m", "h"));
  CHECK_FALSE(error == Error::try_again(ErrorCode::not_found, "m", "h"));
  CHECK_FALSE(error == Error::failed(ErrorCode::generic, "m", "h"));
  CHECK_FALSE(error == Error::failed(ErrorCode::not_found, "", "h"));
  CHECK_FALSE(error == Error::failed(ErrorCode::not_found, "m"));
}

TEST_CASE("result: every code has its own text", "[unit][core][result]") {
  struct Case {
    ErrorCode code;
    std::string text;
  };
  std::set<std::string> texts;
  for (const Case& c : {Case{ErrorCode::generic, "generic"},
                        {ErrorCode::invalid_input, "invalid_input"},
                        {ErrorCode::not_found, "not_found"},
                        {ErrorCode::conflict, "conflict"},
                        {ErrorCode::stale_epoch, "stale_epoch"},
                        {ErrorCode::permission_denied, "permission_denied"},
                        {ErrorCode::unauthenticated, "unauthenticated"},
                        {ErrorCode::unavailable, "unavailable"},
                        {ErrorCode::timed_out, "timed_out"},
                        {ErrorCode::malformed_reply, "malformed_reply"},
                        {ErrorCode::too_large, "too_large"},
                        {ErrorCode::out_of_resources, "out_of_resources"},
                        {ErrorCode::unsupported, "unsupported"}}) {
    CHECK(to_string(c.code) == c.text);
    texts.insert(c.text);
  }
  CHECK(texts.size() == static_cast<std::size_t>(ErrorCode::unsupported) + 1);  // none is left out
}

TEST_CASE("result: a value is read, changed and moved out", "[unit][core][result]") {
  Result<std::string> result = std::string("a");
  REQUIRE(result);
  CHECK(result.has_value());
  *result += "b";
  result.value() += "c";
  result->push_back('d');
  const Result<std::string>& same = result;
  CHECK(*same == "abcd");
  CHECK(same.value() == "abcd");
  CHECK(same->size() == 4);
  Result<std::unique_ptr<int>> owner = std::make_unique<int>(7);
  const std::unique_ptr<int> taken = *std::move(owner);
  CHECK(*taken == 7);
  result = lost();
  CHECK_FALSE(result);
  CHECK(result.error() == lost());
  result = std::string("again");
  CHECK(result.value() == "again");
  const Result<Outcome> falsy = Outcome::failed;  // a value, whatever it is
  CHECK(falsy.has_value());
}

TEST_CASE("result: success without a value", "[unit][core][result]") {
  Result<void> result;
  CHECK(result.has_value());
  CHECK(static_cast<bool>(result));
  result = lost();
  CHECK_FALSE(result.has_value());
  CHECK_FALSE(static_cast<bool>(result));
  CHECK(result.error() == lost());
  result = {};
  CHECK(result.has_value());
}

TEST_CASE("result: the side that is not there is never read", "[unit][core][result]") {
  Result<std::string> value = std::string("a");
  Result<std::string> error = lost();
  Result<void> success;
  CHECK_FALSE(is_refused([&] { static_cast<void>(*value); }));
  CHECK(is_refused([&] { static_cast<void>(value.error()); }));
  CHECK(is_refused([&] { static_cast<void>(std::move(value).error()); }));
  CHECK(is_refused([&] { static_cast<void>(error.value()); }));
  CHECK(is_refused([&] { static_cast<void>(std::as_const(error).value()); }));
  CHECK(is_refused([&] { static_cast<void>(std::move(error).value()); }));
  CHECK(is_refused([&] { static_cast<void>(*error); }));
  CHECK(is_refused([&] { static_cast<void>(error->size()); }));
  CHECK(is_refused([&] { static_cast<void>(success.error()); }));
}

}  // namespace result_test
