// How the stand-in is brought into the state that each recording describes: `given`, the events, and what
// happened unseen between two requests.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/contract/controller_sim/stage.h"

namespace skep::controller_sim {

/// What an act is told: the exchange that it precedes, and the one after that (for an event: what is looked
/// at next).
struct Moment {
  const recordings::Exchange& exchange;
  const recordings::Recording& recording;
  /// The next request from here on; nullptr at the end.
  const recordings::Exchange* next_request() const;
  /// "g0" out of the next request's /computer/g0/...
  std::string node() const;
};

struct Act {
  std::string
      before;  // name of a step or text of an event; one with `*` at its end fits every text that begins so
  std::function<void(Stage&, const Moment&)> run;

  bool fits(const recordings::Exchange& exchange) const;
};

struct Scenario {
  std::function<void(Stage&)> given = [](Stage&) {};
  std::vector<Act> acts{};
  std::vector<Act> meanwhile{};      // while a request waits for its answer
  bool asks_for_first_item = false;  // by an id that no answer has told
};

/// By the name of its file ("03-why-texts"); fails the test when there is no table for it.
Scenario scenario_of(const recordings::Recording& recording);

}  // namespace skep::controller_sim
