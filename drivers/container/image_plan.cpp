#include "drivers/container/image_plan.h"

#include <algorithm>

#include "common/json/json.h"
#include "drivers/shared/short_hash.h"

namespace skep::drivers::container {
namespace {

constexpr const char* tag_root = "skep.local/";

const EngineImage* find_id(const std::vector<EngineImage>& engine, const std::string& id) {
  const auto found =
      std::find_if(engine.begin(), engine.end(), [&](const EngineImage& each) { return each.id == id; });
  return found == engine.end() ? nullptr : &*found;
}

/// Whether it has no name but those of agentds, of which each removes its own.
bool is_ours_alone(const EngineImage& image) {
  return !image.has_digests && std::all_of(image.tags.begin(), image.tags.end(), [](const std::string& tag) {
    return tag.rfind(tag_root, 0) == 0;
  });
}

/// Somebody's image that had no name before us: without ours it would be gone.
bool must_stay(const std::map<std::string, LoadRecord>& records, const std::string& id) {
  return std::any_of(records.begin(), records.end(),
                     [&](const auto& each) { return each.second.was_nameless && each.second.id == id; });
}

}  // namespace

std::string tag_prefix(const std::string& owner) {
  return tag_root + short_hash(owner) + "/";
}

std::string tag_of(const std::string& owner, const std::string& copy) {
  const std::size_t at = copy.find('@');
  std::string version = at == std::string::npos ? std::string() : copy.substr(at + 1);
  std::replace(version.begin(), version.end(), '+', '_');  // no character of a tag; digits keep them apart
  return tag_prefix(owner) + copy.substr(0, at) + ":v" + version;
}

std::string encode(const LoadRecord& record) {
  return json::dump({{"digest", record.digest}, {"id", record.id}, {"was_nameless", record.was_nameless}});
}

Result<LoadRecord> decode_record(const std::string& text) {
  const auto in = json::parse_strict(text);
  if (!in) return in.error();
  const auto digest = json::get_string(*in, "digest");
  if (!digest) return digest.error();
  const auto id = json::get_string(*in, "id");
  if (!id) return id.error();
  const auto was_nameless = json::get_bool(*in, "was_nameless");
  if (!was_nameless) return was_nameless.error();
  return LoadRecord{*digest, *id, *was_nameless};
}

LoadRecord plan_record(const ImageFactsOfHost& facts, const std::string& copy, const std::string& digest,
                       const std::string& id) {
  const auto before = facts.records.find(copy);
  const bool is_same = before != facts.records.end() && before->second.id == id;
  // A load that broke off may have left it without a name. And what is gone needs no protection any more.
  const bool was_nameless = is_same && find_id(facts.engine, id) != nullptr ? before->second.was_nameless
                                                                            : is_nameless(facts.engine, id);
  return {digest, id, was_nameless};
}

bool is_nameless(const std::vector<EngineImage>& engine, const std::string& id) {
  const EngineImage* image = find_id(engine, id);
  return image != nullptr && image->tags.empty() && !image->has_digests;
}

ImagePlan plan_images(const ImageFactsOfHost& facts) {
  ImagePlan plan;
  const std::string prefix = tag_prefix(facts.owner);
  std::set<std::string> kept;                     // copies
  std::map<std::string, std::string> id_of_kept;  // by tag; empty: not known yet
  for (const CopyFacts& copy : facts.copies) {
    if (!copy.can_start && !copy.is_held) continue;
    kept.insert(copy.copy);
    const auto record = facts.records.find(copy.copy);
    const bool is_known =
        record != facts.records.end() && (!copy.can_start || record->second.digest == copy.digest);
    const std::string tag = tag_of(facts.owner, copy.copy);
    id_of_kept[tag] = is_known ? record->second.id : std::string();
    if (!copy.can_start) continue;
    const EngineImage* image = is_known ? find_id(facts.engine, record->second.id) : nullptr;
    if (image != nullptr && image->tags.count(tag) > 0)
      plan.ready.insert(copy.copy);
    else
      plan.load.push_back(copy.copy);
  }
  std::set<std::string> seen_tags;
  for (const EngineImage& image : facts.engine) {
    for (const std::string& tag : image.tags) {
      if (tag.rfind(prefix, 0) != 0) continue;
      seen_tags.insert(tag);
      const auto wanted = id_of_kept.find(tag);
      const bool is_in_place =
          wanted != id_of_kept.end() && (wanted->second.empty() || wanted->second == image.id);
      if (is_in_place) continue;
      if (is_ours_alone(image) && must_stay(facts.records, image.id)) continue;
      plan.tags_to_remove.insert(tag);
    }
  }
  for (const auto& [copy, record] : facts.records) {
    if (kept.count(copy) > 0 || seen_tags.count(tag_of(facts.owner, copy)) > 0) continue;
    const std::string& id = record.id;
    const bool is_of_another = std::any_of(facts.records.begin(), facts.records.end(), [&](const auto& each) {
      return kept.count(each.first) > 0 && each.second.id == id;
    });
    const bool is_left = is_nameless(facts.engine, record.id) && !must_stay(facts.records, record.id);
    if (is_left && !is_of_another)
      plan.names_to_give[tag_of(facts.owner, copy)] = record.id;
    else
      plan.records_to_forget.insert(copy);
  }
  return plan;
}

}  // namespace skep::drivers::container
