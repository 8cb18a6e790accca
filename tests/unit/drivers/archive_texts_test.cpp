// What image archives say of themselves.
#include "drivers/container/archive_texts.h"

#include <catch2/catch.hpp>

namespace archive_texts_test {

using namespace skep;
using namespace skep::drivers::container;

const std::string digest_a(64, 'a'), digest_b(64, 'b'), digest_c(64, 'c');
const std::string blob_a = "blobs/sha256/" + digest_a, blob_b = "blobs/sha256/" + digest_b,
                  blob_c = "blobs/sha256/" + digest_c;
const std::string configuration = R"({"architecture": "amd64", "os": "linux"})";

std::string descriptor(const std::string& digest, const std::string& more = {}) {
  return R"({"digest": "sha256:)" + digest + "\"" + more + "}";
}

ArchiveContent docker(const std::string& manifest) {
  return {{"manifest.json", "c.json", "l1/layer.tar", "l2/layer.tar"},
          {{"manifest.json", manifest}, {"c.json", configuration}}};
}

ArchiveContent oci(const std::string& index) {
  const std::string manifest =
      R"({"config": )" + descriptor(digest_b) + R"(, "layers": [)" + descriptor(digest_c) + "]}";
  return {{"index.json", "oci-layout", blob_a, blob_b, blob_c},
          {{"index.json", index}, {blob_a, manifest}, {blob_b, configuration}}};
}

TEST_CASE("image archives: as docker save writes them", "[unit][drivers]") {
  const auto archive = read_archive(
      docker(R"([{"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["l1/layer.tar", "l2/layer.tar"]}])"));
  REQUIRE(archive);
  CHECK(archive->configuration == "c.json");
  CHECK(archive->layers == std::vector<std::string>{"l1/layer.tar", "l2/layer.tar"});
  CHECK(archive->architecture == "amd64");
  CHECK(
      manifest_of(*archive, "skep.local/x/app:v1") ==
      R"([{"Config":"c.json","Layers":["l1/layer.tar","l2/layer.tar"],"RepoTags":["skep.local/x/app:v1"]}])");
}

TEST_CASE("image archives: an OCI layout, with an index in an index and attestations", "[unit][drivers]") {
  const std::string attestation =
      descriptor(digest_c, R"(, "platform": {"architecture": "unknown", "os": "unknown"})");
  const auto plain = read_archive(oci(R"({"manifests": [)" + descriptor(digest_a) + "]}"));
  REQUIRE(plain);
  CHECK(plain->configuration == blob_b);
  CHECK(plain->layers == std::vector<std::string>{blob_c});
  ArchiveContent nested = oci(R"({"manifests": [)" + descriptor(std::string(64, 'd')) + "]}");
  nested.texts["blobs/sha256/" + std::string(64, 'd')] =
      R"({"manifests": [)" + descriptor(digest_a) + "," + attestation + "]}";
  const auto inner = read_archive(nested);
  REQUIRE(inner);
  CHECK(inner->configuration == blob_b);
}

TEST_CASE("image archives: what is not exactly one whole image is refused with the reason",
          "[unit][drivers]") {
  const std::string image = R"({"Config": "c.json", "Layers": ["l1/layer.tar"]})";
  const std::vector<std::pair<ArchiveContent, std::string>> cases{
      {{}, "neither manifest.json nor index.json"},
      {{{"a"}, {}}, "neither manifest.json nor index.json"},
      {docker("nonsense"), "manifest.json"},
      {docker("{}"), "no list"},
      {docker("[]"), "holds 0 images"},
      {docker("[" + image + "," + image + "]"), "holds 2 images"},
      {docker("[1]"), "no configuration"},
      {docker(R"([{"Config": "c.json", "Layers": "l"}])"), "no layers"},
      {docker(R"([{"Config": "c.json", "Layers": ["other.tar"]}])"), "\"other.tar\" is missing"},
      {docker(R"([{"Config": "c.json", "Layers": [1]}])"), "is missing"},
      {docker(R"([{"Config": "gone.json", "Layers": []}])"), "\"gone.json\" is not in it"},
      {oci("{}"), "index.json"},
      {oci(R"({"manifests": []})"), "holds 0 images"},
      {oci(R"({"manifests": [)" + descriptor(digest_a) + "," + descriptor(digest_b) + "]}"),
       "holds 2 images"},
      {oci(R"({"manifests": [{"digest": "sha512:1"}]})"), "is not in it"},
      {oci(R"({"manifests": [)" + descriptor("../../etc") + "]}"), "is not in it"},
  };
  for (const auto& [content, reason] : cases) {
    const auto archive = read_archive(content);
    REQUIRE_FALSE(archive);
    INFO(archive.error().message);
    CHECK(archive.error().code == ErrorCode::invalid_input);
    CHECK(archive.error().message.find(reason) != std::string::npos);
  }
  ArchiveContent endless = oci(R"({"manifests": [)" + descriptor(digest_a) + "]}");
  endless.texts[blob_a] = endless.texts["index.json"];
  CHECK_FALSE(read_archive(endless));
}

TEST_CASE("image archives: only for the platform that the engine runs", "[unit][drivers]") {
  const ImageArchive archive{"c.json", {}, "arm64", "linux"};
  CHECK(check_platform(archive, "arm64", "linux"));
  CHECK(check_platform(archive, "", ""));
  const auto refused = check_platform(archive, "amd64", "linux");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::unsupported);
  CHECK(refused.error().message.find("linux/arm64") != std::string::npos);
  CHECK(refused.error().message.find("linux/amd64") != std::string::npos);
}

}  // namespace archive_texts_test
