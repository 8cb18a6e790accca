// Compares an answer of the stand-in with the recorded one. Ids, times, ports, secrets and the like differ
// from run to run: each side's are replaced by the order in which they first appear, so that the same thing
// must stay the same thing and two things must stay two.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "simulation/controller/controller_model.h"
#include "tests/contract/support/recordings.h"

namespace skep::controller_sim {

class Likeness {
 public:
  /// What differs, one line each; empty if the answer is as recorded. `wall_ms`: the stand-in's clock.
  std::vector<std::string> differences(const recordings::Exchange& recorded, const HttpReply& actual,
                                       std::int64_t wall_ms);

  /// A recorded target or body with the stand-in's own queue ids in it.
  std::string translated(const std::string& recorded_text) const;
  /// The item that a recorded target names, where no answer has told its id.
  void learn_item(const std::string& recorded_target, std::int64_t actual_id);

 private:
  /// Numbers the values of one kind on one side in order of appearance.
  struct Names {
    std::map<std::string, std::size_t> ordinals;
    std::string shown(const std::string& kind, const std::string& value);
  };
  struct Side {
    std::map<std::string, Names> kinds;
    std::string name(const std::string& kind, const std::string& value);
  };

  void compare_headers(const recordings::Exchange& recorded, const HttpReply& actual);
  void compare_json(const json::Json& recorded, const json::Json& actual, const std::string& path);
  void compare_value(const json::Json& recorded, const json::Json& actual, const std::string& path);
  void compare_page(const recordings::Page& recorded, const HttpReply& actual);
  void compare_body(const std::string& recorded, const std::string& actual);
  void differ(const std::string& what, const std::string& recorded, const std::string& actual);
  static std::string canonical_header(Side& side, const std::string& name, const std::string& value);
  static std::string canonical_text(Side& side, std::string text);
  static std::string canonical_listing(Side& side, const std::string& text);

  Side recorded_, actual_;
  std::map<std::string, std::string> secrets_;  // by node: a name has one secret
  std::int64_t wall_ms_ = 0;
  std::vector<std::string> out_;
};

}  // namespace skep::controller_sim
