#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>

#include "common/json/json.h"
#include "common/log/log.h"
#include "tests/support/certificates.h"

namespace log_output_test {

using namespace skep;

namespace {

/// What `work` writes to stderr.
template <typename Work>
std::string stderr_of(Work work) {
  const test::TempFolder folder;
  const int kept = ::dup(2), to = ::open(folder.file("log").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  ::dup2(to, 2);
  work();
  ::dup2(kept, 2);
  ::close(kept);
  ::close(to);
  std::ostringstream out;
  out << std::ifstream(folder.file("log")).rdbuf();
  return out.str();
}

const std::string hostile =
    "a\nb\r\x1b[31m\"q\" \\ \xff \xc3\xa9 {} %s %v \xed\xa0\x80 \xf0\x9f\x98\x80 \xf4\x90\x80\x80" +
    std::string(1, '\0');

}  // namespace

TEST_CASE("one event is one line, whatever it holds") {
  log::initialize("info", "text");
  const std::string text = stderr_of([] {
    log::write(log::Level::warning, hostile, {{"field", hostile}, {"id", "x"}});
  });
  CHECK(std::count(text.begin(), text.end(), '\n') == 1);
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(text.find(" id=x") != std::string::npos);
  CHECK(text.find("{} %s %v") != std::string::npos);
}

TEST_CASE("a level keeps out what is below it") {
  log::initialize("warning", "text");
  CHECK(stderr_of([] { log::write(log::Level::info, "quiet"); }).empty());
  CHECK_FALSE(stderr_of([] { log::write(log::Level::error, "loud"); }).empty());
  log::initialize("info", "text");
}

TEST_CASE("as JSON every line is an object that strict readers take") {
  log::initialize("debug", "json");
  const std::string text = stderr_of([] {
    log::write(log::Level::debug, hostile, {{"field", hostile}, {"odd \"name", "v"}});
    log::write_error("cannot do it", Error::try_again(ErrorCode::unavailable, hostile, "hint"));
  });
  std::istringstream lines(text);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto parsed = json::parse_strict(line);
    INFO(line << (parsed ? "" : parsed.error().message));
    REQUIRE(parsed);
    CHECK(parsed->contains("time"));
    CHECK(parsed->contains("message"));
  }
  CHECK(count == 2);
}

}  // namespace log_output_test
