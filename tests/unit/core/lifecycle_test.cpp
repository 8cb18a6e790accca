#include "core/lifecycle/lifecycle.h"

#include <catch2/catch.hpp>
#include <set>
#include <string>

namespace lifecycle_test {

using S = skep::ExecutorState;

namespace {

struct StateCase {
  S state;
  std::string name;
  bool is_coming, occupies_slot;
  std::string steps;  // one sign for each state, in this order: x is legal
};

// Beside the straight line: looks come at intervals, so states may be skipped while an executor comes; a busy
// one joins again when its controller was restarted, and is not removed before its build is over; what cannot
// be seen may turn out to be anything but planned; gone is the end.
const std::vector<StateCase>& states() {
  static const std::vector<StateCase> cases{
      //                                        pocbj ibf dg fhu
      {S::planned, "planned", true, true, /* */ ".x... ... xx x.."},
      {S::ordered, "ordered", true, true, /* */ "..xxx xx. x. x.x"},
      {S::creating, "creating", true, true, /**/ "...xx xx. x. x.x"},
      {S::booting, "booting", true, true, /* */ "....x xx. x. x.x"},
      {S::joining, "joining", true, true, /* */ "..... xxx x. x.x"},
      {S::idle, "idle", false, true, /*      */ "..... .xx x. xxx"},
      {S::busy, "busy", false, true, /*      */ "....x ..x .. xxx"},
      {S::finished, "finished", false, true, /**/ "..... ... x. .xx"},
      {S::destroying, "destroying", false, true, "..... ... .x x.x"},
      {S::gone, "gone", false, false, /*     */ "..... ... .. ..."},
      {S::failed, "failed", false, true, /*  */ "..... ... xx .xx"},
      {S::held, "held", false, true, /*      */ "..... xx. x. x.x"},
      {S::unknown, "unknown", false, true, /**/ ".xxxx xxx xx xx."},
  };
  return cases;
}

std::set<S> all_states() {
  std::set<S> all;
  for (const StateCase& c : states()) all.insert(c.state);
  return all;
}

std::set<S> states_before(S to) {
  std::set<S> before;
  for (const S from : all_states()) {
    if (is_legal_step(from, to)) before.insert(from);
  }
  return before;
}

std::set<S> all_but(const std::set<S>& left_out) {
  std::set<S> rest;
  for (const S state : all_states()) {
    if (left_out.count(state) == 0) rest.insert(state);
  }
  return rest;
}

}  // namespace

TEST_CASE("lifecycle: every pair of states", "[unit][core][lifecycle]") {
  REQUIRE(states().size() == skep::executor_state_count);
  REQUIRE(all_states().size() == skep::executor_state_count);
  for (const StateCase& from : states()) {
    std::string signs = from.steps;
    std::erase(signs, ' ');
    REQUIRE(signs.size() == states().size());
    for (std::size_t i = 0; i < signs.size(); ++i) {
      CAPTURE(from.name, states()[i].name);
      CHECK(is_legal_step(from.state, states()[i].state) == (signs[i] == 'x'));
    }
  }
}

TEST_CASE("lifecycle: what the steps are for", "[unit][core][lifecycle]") {
  const std::vector<S> life{S::planned, S::ordered, S::creating, S::booting,    S::joining,
                            S::idle,    S::busy,    S::finished, S::destroying, S::gone};
  for (std::size_t i = 1; i < life.size(); ++i) CHECK(is_legal_step(life[i - 1], life[i]));
  for (const S state : all_states()) {
    CAPTURE(to_string(state));
    CHECK_FALSE(is_legal_step(state, state));
    CHECK_FALSE(is_legal_step(S::gone, state));
  }
  CHECK(states_before(S::planned).empty());  // names are never used again
  // A slot is free when its executor was seen gone: nothing was touched, or it was sought and not found.
  CHECK(states_before(S::gone) == std::set<S>{S::planned, S::destroying, S::failed, S::unknown});
  // A held one behind no gate takes a build like any other.
  CHECK(states_before(S::busy) ==
        std::set<S>{S::ordered, S::creating, S::booting, S::joining, S::idle, S::held, S::unknown});
  CHECK(states_before(S::destroying) == all_but({S::busy, S::destroying, S::gone}));
  CHECK(states_before(S::held) == std::set<S>{S::idle, S::busy, S::finished, S::failed, S::unknown});
  CHECK(states_before(S::unknown) == all_but({S::planned, S::gone, S::unknown}));
  // From everywhere there is a way to gone.
  std::set<S> may_end{S::gone};
  for (std::size_t round = 0; round < states().size(); ++round) {
    for (const S to : std::set<S>(may_end)) may_end.merge(states_before(to));
  }
  CHECK(may_end == all_states());
}

TEST_CASE("lifecycle: states, their texts and what they count for", "[unit][core][lifecycle]") {
  for (const StateCase& c : states()) {
    CAPTURE(c.name);
    CHECK(to_string(c.state) == c.name);
    CHECK(skep::executor_state_from(c.name) == c.state);
    CHECK(is_coming(c.state) == c.is_coming);
    CHECK(occupies_slot(c.state) == c.occupies_slot);
  }
  for (const char* text : {"", "Planned", "idle ", " idle", "idl", "idles", "none"}) {
    CAPTURE(text);
    CHECK_FALSE(skep::executor_state_from(text));
  }
}

}  // namespace lifecycle_test
