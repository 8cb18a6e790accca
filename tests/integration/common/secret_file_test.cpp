#include <catch2/catch.hpp>

#include "common/shell/files.h"
#include "tests/support/certificates.h"

namespace secret_file_test {

using namespace skep;
using shell::read_secret_file;

TEST_CASE("a secret is read without its line end, from a file of its owner only") {
  const test::TempFolder folder;
  CHECK(*read_secret_file(folder.write("a", "secret")) == "secret");
  CHECK(*read_secret_file(folder.write("b", "secret\n")) == "secret");
  CHECK(*read_secret_file(folder.write("c", "secret\r\n")) == "secret");
  CHECK(*read_secret_file(folder.write("d", "secret", 0400)) == "secret");
  for (const int mode : {0604, 0640, 0602, 0620, 0610, 0601, 0666}) {
    const auto text = read_secret_file(folder.write("open", "MARKED", mode));
    REQUIRE_FALSE(text);
    CHECK(text.error().code == ErrorCode::permission_denied);
    CHECK((text.error().message + text.error().hint).find("MARKED") == std::string::npos);
  }
}

TEST_CASE("no secret: absent, empty, a folder, too large") {
  const test::TempFolder folder;
  CHECK(read_secret_file(folder.file("absent")).error().code == ErrorCode::not_found);
  CHECK_FALSE(read_secret_file(folder.write("empty", "")));
  CHECK_FALSE(read_secret_file(folder.write("line", "\n")));
  CHECK_FALSE(read_secret_file(folder.path().string()));
  CHECK(read_secret_file(folder.write("large", std::string(70'000, 'x'))).error().code ==
        ErrorCode::too_large);
}

}  // namespace secret_file_test
