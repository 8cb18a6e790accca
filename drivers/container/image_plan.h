// Which images of the host's catalogue an engine must get, keep and lose. Pure; the shell is host_images.
//
// An image that we loaded carries a tag of ours: "skep.local/<hash of the owner>/<name>:<version>-<digest>".
// A record, durable before anything is loaded, says which ID must be there. Promises, which
// tests/unit/drivers/image_plan_test.cpp holds against random runs: only tags of this owner are removed (what
// a load of ours left without a name gets one first, so that it is never removed under a name of others);
// nothing of a copy that can be started or is held is removed, but a tag that somebody moved to another
// image; an image that was there without a name before us is never removed; only a copy whose ID is there
// under its tag is ready.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace skep::drivers::container {

/// Of a copy's name, "base@2-1f2d3c4b5a69". Names and digits keep it apart from every other copy.
std::string tag_of(const std::string& owner, const std::string& copy);
/// "skep.local/<hash>/": what all tags of this owner begin with.
std::string tag_prefix(const std::string& owner);

/// One image that the engine has.
struct EngineImage {
  std::string id;              // sha256:...
  std::set<std::string> tags;  // name:tag
  bool has_digests = false;    // somebody pulled it by digest
};

/// What we know of a copy, durably.
struct LoadRecord {
  std::string digest;         // of the copy's files, 64 hex digits
  std::string id;             // that it must have in the engine
  bool was_nameless = false;  // it was there before us, without any name: somebody else's
  friend bool operator==(const LoadRecord&, const LoadRecord&) = default;
};
std::string encode(const LoadRecord& record);
Result<LoadRecord> decode_record(const std::string& text);

struct CopyFacts {
  std::string copy, digest;
  bool can_start = false, is_held = false;
};

struct ImageFactsOfHost {
  std::string owner;
  std::vector<CopyFacts> copies;              // that can be started or are held
  std::map<std::string, LoadRecord> records;  // by copy
  std::vector<EngineImage> engine;
};

struct ImagePlan {
  std::set<std::string> ready;                       // copies that can be started now
  std::vector<std::string> load;                     // copies
  std::set<std::string> tags_to_remove;              // of ours; the last name of an image takes it along
  std::map<std::string, std::string> names_to_give;  // tag -> ID that a load of ours left without a name
  std::set<std::string> records_to_forget;           // copies of which nothing is left
};

ImagePlan plan_images(const ImageFactsOfHost& facts);

/// What must be on record before a copy is loaded that will have this ID.
LoadRecord plan_record(const ImageFactsOfHost& facts, const std::string& copy, const std::string& digest,
                       const std::string& id);
bool is_nameless(const std::vector<EngineImage>& engine, const std::string& id);

}  // namespace skep::drivers::container
