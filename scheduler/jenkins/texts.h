// Texts of a controller turned into facts: `why`, Java properties, permission ids, addresses. Pure.
// Source: Jenkins core Messages.properties and CauseOfBlockage; recordings 03, 04 and 20 of tests/recordings.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace skep::scheduler {

/// What a `why` text says about where the item may run.
struct WhyFacts {
  enum class Kind {
    label,          // `text` is the label's name
    label_or_node,  // `text` is a label, or the one node that matches it
    node,           // `text` is the one node that matches
    any_node,       // the item has no label, or the controller has no agents at all
    no_label,       // the item has no label, for certain
    stopping,       // cancelled, or the controller is about to shut down
    nothing,        // no word about labels
  } kind = Kind::nothing;
  std::string text;
};
WhyFacts read_why(std::string_view why);

/// java.util.Properties.load: comments, escapes, ISO-8859-1. Values come out as UTF-8.
std::map<std::string, std::string> parse_properties(std::string_view text);

/// "job/folder/job/name/12/" out of an absolute or relative address; "" when there is no job in it.
std::string build_path(std::string_view url);

/// hudson.model.Computer.Create -> "Agent/Create"; unknown ids come back as they are.
std::string permission_name(std::string_view id);

/// `code` below 0x110000 and no half of a surrogate pair.
void append_utf8(std::string& out, unsigned code);

}  // namespace skep::scheduler
