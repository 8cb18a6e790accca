#include "simulation/whatif/timeline.h"

#include <catch2/catch.hpp>

namespace timeline_test {

using namespace skep;
using namespace skep::simulation::whatif;

namespace {

Duration sum(const Timeline& timeline, Doing doing) {
  Duration out{};
  for (const Slot& slot : timeline.slots()) out += slot.time[static_cast<std::size_t>(doing)];
  return out;
}

std::uint64_t arrivals(const Timeline& timeline) {
  std::uint64_t out = 0;
  for (const Slot& slot : timeline.slots()) out += slot.arrivals;
  return out;
}

}  // namespace

TEST_CASE("timeline: time is split over slots and none is lost", "[unit][whatif][timeline]") {
  Timeline timeline(minutes(4));
  REQUIRE(timeline.width() == seconds(1));
  timeline.add_time(Doing::busy, milliseconds(1500), milliseconds(3250));
  CHECK(timeline.slots()[1].time[static_cast<std::size_t>(Doing::busy)] == milliseconds(500));
  CHECK(timeline.slots()[2].time[static_cast<std::size_t>(Doing::busy)] == seconds(1));
  CHECK(timeline.slots()[3].time[static_cast<std::size_t>(Doing::busy)] == milliseconds(250));
  timeline.add_time(Doing::idle, seconds(-10), seconds(2));
  CHECK(sum(timeline, Doing::idle) == seconds(2));
  timeline.add_time(Doing::idle, seconds(5), seconds(5));
  CHECK(sum(timeline, Doing::idle) == seconds(2));
}

TEST_CASE("timeline: what outgrows the slots is kept in wider ones", "[unit][whatif][timeline]") {
  Timeline timeline(minutes(4));
  for (int i = 0; i < 5000; ++i) {
    timeline.add_arrival(seconds(i));
    timeline.add_wait(seconds(i), milliseconds(i));
    timeline.add_time(Doing::busy, seconds(i), seconds(i + 1));
  }
  CHECK(timeline.slots().size() <= Timeline::most_slots);
  CHECK(timeline.width() == seconds(16));
  CHECK(arrivals(timeline) == 5000);
  CHECK(sum(timeline, Doing::busy) == seconds(5000));
  CHECK(timeline.slots()[1].arrivals == 16);
  CHECK(timeline.slots()[1].waits.least() == milliseconds(16));
  CHECK(timeline.slots()[1].waits.most() == milliseconds(31));
}

TEST_CASE("timeline: one long stretch of time fits, too", "[unit][whatif][timeline]") {
  Timeline timeline(minutes(4));
  timeline.add_time(Doing::coming, seconds(3), hours(24 * 400));
  CHECK(timeline.slots().size() <= Timeline::most_slots);
  CHECK(sum(timeline, Doing::coming) == hours(24 * 400) - seconds(3));
}

TEST_CASE("timeline: slots are of a round length for what is expected", "[unit][whatif][timeline]") {
  CHECK(Timeline(hours(12)).width() == minutes(5));
  CHECK(Timeline(hours(24 * 7)).width() == hours(1));
  CHECK(Timeline(hours(24 * 3650)).width() == hours(24));
}

}  // namespace timeline_test
