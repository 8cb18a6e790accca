// What skep-sandbox is told, and what it answers.
#include "drivers/process/sandbox_texts.h"

#include <algorithm>
#include <catch2/catch.hpp>

namespace sandbox_texts_test {

using namespace skep;
using namespace skep::drivers::process;

namespace {

SandboxCall call() {
  SandboxCall call;
  call.status_file = "/x/sandbox";
  call.sandbox = {"/x/root",    "/images/a:b,c",
                  "/x/upper",   "/x/scratch",
                  "e1",         {{"/usr", "/usr", true}, {"/x/control", "/skep/control", false}},
                  "/skep/work", true,
                  {},           {"/usr/bin/skep-join", "--", "--bind", ""}};
  return call;
}

std::vector<std::string> words_of(const SandboxCall& from) {
  auto words = command_line("skep-sandbox", from);
  CHECK(words.front() == "skep-sandbox");
  words.erase(words.begin());
  return words;
}

}  // namespace

TEST_CASE("skep-sandbox reads what a driver writes", "[unit][drivers]") {
  SandboxCall wanted = call();
  const auto read = read_command_line(words_of(wanted));
  REQUIRE(read);
  CHECK(*read == wanted);
  wanted.sandbox.has_network = false;
  wanted.sandbox.user = 80'001;
  wanted.sandbox.program.clear();
  wanted.sandbox.binds.clear();
  const auto again = read_command_line(words_of(wanted));
  REQUIRE(again);
  CHECK(*again == wanted);
}

TEST_CASE("skep-sandbox refuses what it does not know, and what is half", "[unit][drivers]") {
  const std::vector<std::string> good = words_of(call());
  for (std::size_t missing = 0; missing < good.size() - 5; ++missing) {
    auto words = good;
    words.erase(words.begin() + static_cast<std::ptrdiff_t>(missing));
    INFO("without " << good[missing]);
    const auto read = read_command_line(words);
    // What is left may be another whole call, but never the same.
    if (read) CHECK_FALSE(*read == call());
  }
  for (const auto& [first, reason] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"--user", "4294967295"}, "no user's number"},
           {{"--user", "-1"}, "no user's number"},
           {{"--user", "12x"}, "no user's number"},
           {{"--root", "relative"}, "--root"},
           {{"--bind", "/a", "b"}, "no two absolute paths"},
           {{"--read-only", "/a", "/"}, "no two absolute paths"},
           {{"--strange", "x"}, "not known"}}) {
    auto words = words_of(call());
    const auto end = std::find(words.begin(), words.end(), "--");
    words.insert(end, first.begin(), first.end());
    const auto read = read_command_line(words);
    REQUIRE_FALSE(read);
    INFO(read.error().message);
    CHECK(read.error().code == ErrorCode::invalid_input);
    CHECK(read.error().message.find(reason) != std::string::npos);
  }
  CHECK_FALSE(read_command_line({}));
}

TEST_CASE("what is shown of a host: a path, or a path and another inside", "[unit][drivers]") {
  CHECK(bind_from("/usr") == posix_host::Sandbox::Bind{"/usr", "/usr", true});
  CHECK(bind_from("/opt/jdk:/usr/lib/jvm") == posix_host::Sandbox::Bind{"/opt/jdk", "/usr/lib/jvm", true});
  for (const char* text :
       {"", "/", "usr", "/usr:", ":/usr", "/usr:/", "/usr:lib", "/usr/..", "/a:/b/../c", "/usr/"})
    CHECK_FALSE(bind_from(text));
}

TEST_CASE("skep-sandbox: its word is read as it was meant, or refused", "[unit][drivers]") {
  CHECK(read_sandbox_status(status_text({})));
  for (const ErrorCode code : {ErrorCode::permission_denied, ErrorCode::not_found, ErrorCode::generic}) {
    const auto read = read_sandbox_status(status_text(Error::failed(code, "cannot do it: why")));
    REQUIRE_FALSE(read);
    CHECK(read.error().code == code);
    CHECK(read.error().message == "cannot do it: why");
  }
  for (const char* text :
       {"", "running", "failed", "failed \n", "failed generic \n", "failed sometimes x\n", "run"}) {
    const auto read = read_sandbox_status(text);
    REQUIRE_FALSE(read);
    CHECK(read.error().code == ErrorCode::malformed_reply);
  }
}

}  // namespace sandbox_texts_test
