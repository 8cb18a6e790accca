// vm.json: what an image of the catalogue says about itself.
#include "drivers/qemu/vm_manifest.h"

#include <catch2/catch.hpp>

namespace vm_manifest_test {

using namespace skep;
using namespace skep::drivers::qemu;

const std::string digest_a(64, 'a'), digest_b(64, 'b');
const std::map<std::string, std::string> files{
    {"k", digest_a}, {"i", digest_b}, {"d.qcow2", digest_a}, {manifest_file, digest_b}};

TEST_CASE("vm.json: an image with and without a disk", "[unit][drivers][qemu]") {
  const auto whole = read_manifest(
      R"({"kernel": "k", "initrd": "i", "disk": "d.qcow2", "command_line": "quiet"})", "/x", files);
  REQUIRE(whole);
  CHECK(*whole == VmImage{"/x", {"k", digest_a}, {"i", digest_b}, {"d.qcow2", digest_a}, "quiet"});
  const auto least = read_manifest(R"({"kernel": "k", "initrd": "i"})", "/x", files);
  REQUIRE(least);
  CHECK(*least == VmImage{"/x", {"k", digest_a}, {"i", digest_b}, {}, ""});
}

TEST_CASE("vm.json: what is not a whole description is refused with the reason", "[unit][drivers][qemu]") {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "vm.json"},
      {"[]", "no object"},
      {R"({"kernel": "k"})", "kernel and initrd must be named"},
      {R"({"kernel": "k", "initrd": ""})", "kernel and initrd must be named"},
      {R"({"kernel": "k", "initrd": "i", "disk": ""})", "\"disk\" is empty"},
      {R"({"kernel": "k", "initrd": 7})", "\"initrd\" is no text"},
      {R"({"kernel": "k", "initrd": "i", "cmdline": "x"})", "\"cmdline\" is not known"},
      {R"({"kernel": "k", "kernel": "k", "initrd": "i"})", "vm.json"},
      {R"({"kernel": "k", "initrd": "i", "disk": "other"})", "names \"other\""},
      {R"({"kernel": "../k", "initrd": "i"})", "names \"../k\""},
      {R"({"kernel": "k", "initrd": "i", "command_line": "a\nb"})", "printable"},
      {R"({"kernel": "k", "initrd": "i", "command_line": ")" + std::string(max_manifest_bytes, 'x') + "\"}",
       "too long"}};
  for (const auto& [text, reason] : cases) {
    const auto refused = read_manifest(text, "/x", files);
    INFO(text.substr(0, 100));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().outcome == Outcome::failed);
    INFO(refused.error().message);
    CHECK(refused.error().message.find(reason) != std::string::npos);
  }
}

}  // namespace vm_manifest_test
