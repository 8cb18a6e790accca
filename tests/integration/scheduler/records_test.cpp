// What is kept of versions of images, and of executors, comes back as it was, also from a release before.
#include "scheduler/shell/records.h"

#include <catch2/catch.hpp>

namespace records_test {

using namespace skep;
using namespace skep::scheduler;

namespace {

ImageVersions whole() {
  ImageVersions image;
  image.name = "base";
  image.current = "1";
  image.previous = "";
  Rollout rollout;
  rollout.to = "2";
  rollout.share = 20;
  rollout.is_held = rollout.is_good = true;
  rollout.state = RolloutState::canary;
  rollout.reason = "none \"yet\"";
  rollout.credit = 80;
  rollout.started_at = {1'790'000'000'000};
  rollout.changed_at = {1'790'000'000'001};
  rollout.old_figures = {5, 1, 4, 2, {100, 200}};
  rollout.new_figures = {7, 0, 3, 0, {}};
  image.rollout = rollout;
  return image;
}

}  // namespace

TEST_CASE("an image's record comes back as it was") {
  const ImageVersions image = whole();
  const auto read = decode_image(encode_image(image));
  REQUIRE(read);
  CHECK(*read == image);
  ImageVersions least;
  least.name = "base";
  const auto again = decode_image(encode_image(least));
  REQUIRE(again);
  CHECK(*again == least);
}

TEST_CASE("a record that cannot be understood is an error, and never a version") {
  CHECK_FALSE(decode_image("{}"));
  CHECK_FALSE(decode_image("[1]"));
  CHECK_FALSE(decode_image("no JSON"));
  CHECK_FALSE(decode_image(R"({"name":"base","rollout":{"to":"2","state":"going"}})"));
  CHECK_FALSE(decode_image(R"({"name":"base","rollout":{"to":2,"state":"done"}})"));
  CHECK(decode_image(R"({"name":"base","later":true})"));
}

TEST_CASE("an executor's record tells its image; one of a release before has none") {
  ExecutorRecord record;
  record.id = ExecutorId("e1");
  record.image = "base@2";
  record.was_counted = true;
  const auto read = decode_record(encode_record(record));
  REQUIRE(read);
  CHECK(*read == record);
  const auto old =
      decode_record(R"({"id":"e1","template":"t","controller":"c","host":"h","epoch":1,"state":"busy"})");
  REQUIRE(old);
  CHECK(old->image.empty());
  CHECK_FALSE(old->was_counted);
}

}  // namespace records_test
