#include "tests/contract/controller_sim/likeness.h"

#include <algorithm>
#include <regex>

#include "simulation/controller/text.h"

namespace skep::controller_sim {
namespace {

using json::Json;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string cut(const std::string& text) {
  return text.size() <= 300 ? text : text.substr(0, 300) + "...";
}

/// `replace(match)` for every match.
template <typename Replace>
std::string replaced(const std::string& text, const std::regex& pattern, Replace replace) {
  std::string out;
  auto rest = text.cbegin();
  for (std::sregex_iterator at(text.begin(), text.end(), pattern), end; at != end; ++at) {
    out.append(rest, text.cbegin() + at->position());
    out += replace(*at);
    rest = text.cbegin() + at->position() + at->length();
  }
  return out.append(rest, text.cend());
}

std::string last_key(const std::string& path) {
  return path.substr(path.rfind('.') + 1);
}

bool is_one_of(const std::string& text, std::initializer_list<std::string_view> choices) {
  return std::find(choices.begin(), choices.end(), text) != choices.end();
}

bool is_item_id(const std::string& path) {
  return last_key(path) == "queueId" || path == "$.id" ||
         std::regex_match(path, std::regex(".*\\.items\\[\\d+\\]\\.id"));
}

/// Text of a page: of its title, or all that is shown.
std::string title_of(const std::string& html) {
  const std::size_t start = html.find("<title>");
  return start == std::string::npos ? "" : html.substr(start + 7, html.find("</title>") - start - 7);
}

std::string joined_words(const std::string& text) {
  std::string out;
  for (const std::string& word : split_blanks(text)) out += (out.empty() ? "" : " ") + word;
  return out;
}

/// Without tags. By hand: std::regex recurses once a character, and pages have 80 KB.
std::string shown_text(const std::string& html) {
  std::string out;
  bool is_tag = false;
  for (const char c : html) {
    if (c == '<') is_tag = true;
    if (!is_tag) out += c;
    if (c == '>') {
      is_tag = false;
      out += ' ';
    }
  }
  return joined_words(out);
}

/// A stack trace by any other lines is as long.
std::string without_traces(const std::string& text) {
  std::string out;
  for (const std::string& line : split(text, '\n')) {
    const bool is_trace = line.rfind("\tat ", 0) == 0;
    if (is_trace && out.ends_with("<trace>\n")) continue;
    out += (is_trace ? "<trace>" : line) + "\n";
  }
  return out;
}

const std::string uuid_pattern = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";

}  // namespace

std::string Likeness::Names::shown(const std::string& kind, const std::string& value) {
  const auto [at, is_new] = ordinals.emplace(value, ordinals.size() + 1);
  return "<" + kind + " " + std::to_string(at->second) + ">";
}

std::string Likeness::Side::name(const std::string& kind, const std::string& value) {
  return kinds[kind].shown(kind, value);
}

void Likeness::differ(const std::string& what, const std::string& recorded, const std::string& actual) {
  out_.push_back(what + ": recorded " + cut(recorded) + ", here " + cut(actual));
}

std::vector<std::string> Likeness::differences(const recordings::Exchange& recorded, const HttpReply& actual,
                                               std::int64_t wall_ms) {
  out_.clear();
  wall_ms_ = wall_ms;
  if (recorded.answer.status != actual.status)
    differ("status", std::to_string(recorded.answer.status), std::to_string(actual.status));
  compare_headers(recorded, actual);
  if (recorded.method == "HEAD") {
    if (!actual.body.empty()) differ("body of a HEAD", "none", actual.body);
  } else if (recorded.answer.json) {
    const auto parsed = json::parse_strict(actual.body);
    if (parsed) {
      compare_json(*recorded.answer.json, *parsed, "$");
    } else {
      differ("body", recorded.answer.json->dump(), actual.body);
    }
  } else if (recorded.answer.page) {
    compare_page(*recorded.answer.page, actual);
  } else {
    compare_body(*recorded.answer.body, actual.body);
  }
  return out_;
}

std::string Likeness::translated(const std::string& recorded_text) const {
  const auto recorded = recorded_.kinds.find("item"), actual = actual_.kinds.find("item");
  if (recorded == recorded_.kinds.end() || actual == actual_.kinds.end()) return recorded_text;
  return replaced(recorded_text, std::regex("((?:queue/item/|[?&]id=))([0-9]+)"),
                  [&](const std::smatch& match) {
                    const auto known = recorded->second.ordinals.find(match[2].str());
                    if (known == recorded->second.ordinals.end()) return match.str();
                    for (const auto& [id, ordinal] : actual->second.ordinals) {
                      if (ordinal == known->second) return match[1].str() + id;
                    }
                    return match.str();
                  });
}

void Likeness::learn_item(const std::string& recorded_target, std::int64_t actual_id) {
  std::smatch found;
  if (!std::regex_search(recorded_target, found, std::regex("queue/item/([0-9]+)"))) return;
  recorded_.name("item", found[1].str());
  actual_.name("item", std::to_string(actual_id));
}

// --- headers

std::string Likeness::canonical_header(Side& side, const std::string& name, const std::string& value) {
  if (name == "x-jenkins-session") return side.name("session", value);
  if (name == "location") {
    return replaced(value, std::regex("queue/item/([0-9]+)"), [&](const std::smatch& match) {
      return "queue/item/" + side.name("item", match[1].str());
    });
  }
  if (name == "set-cookie") {
    const std::string without_value = std::regex_replace(
        value, std::regex("^(JSESSIONID)[^=]*=[^;]*", std::regex::optimize), "$1=<cookie>");
    return std::regex_replace(without_value, std::regex("Expires=[^;]*"), "Expires=<date>");
  }
  if (name == "last-modified") return "<date>";
  return value;
}

void Likeness::compare_headers(const recordings::Exchange& recorded, const HttpReply& actual) {
  // Framing is the shell's part, X-Frame-Options and Expires were left out of the recordings.
  const auto is_left_out = [](const std::string& name) {
    return is_one_of(name, {"transfer-encoding", "content-length", "x-frame-options", "expires"});
  };
  const auto canonical = [&](Side& side, const auto& headers) {
    std::vector<std::string> lines;
    for (const auto& [name, value] : headers) {
      if (is_left_out(lower(name))) continue;
      lines.push_back(lower(name) + ": " + canonical_header(side, lower(name), value));
    }
    std::sort(lines.begin(), lines.end());
    return lines;
  };
  const std::vector<std::string> wanted = canonical(recorded_, recorded.answer.headers);
  const std::vector<std::string> given = canonical(actual_, actual.headers);
  std::vector<std::string> missing, extra;
  std::set_difference(wanted.begin(), wanted.end(), given.begin(), given.end(), std::back_inserter(missing));
  std::set_difference(given.begin(), given.end(), wanted.begin(), wanted.end(), std::back_inserter(extra));
  for (const std::string& line : missing) differ("header", line, "not");
  for (const std::string& line : extra) differ("header", "not", line);
}

// --- JSON

void Likeness::compare_json(const Json& recorded, const Json& actual, const std::string& path) {
  const bool are_numbers = recorded.is_number() && actual.is_number();
  if (recorded.type() != actual.type() && !are_numbers) return differ(path, recorded.dump(), actual.dump());
  if (recorded.is_object()) {
    for (const auto& [key, value] : recorded.items()) {
      if (!actual.contains(key)) {
        differ(path, key + " is there", "it is not");
      } else {
        compare_json(value, actual.at(key), path + "." + key);
      }
    }
    for (const auto& [key, value] : actual.items()) {
      if (!recorded.contains(key)) differ(path, "no " + key, value.dump());
    }
    // A quiet period is as long here as there.
    if (recorded.contains("timestamp") && recorded.contains("inQueueSince") && actual.contains("timestamp") &&
        actual.contains("inQueueSince")) {
      const auto length = [](const Json& item) {
        return item.at("timestamp").get<std::int64_t>() - item.at("inQueueSince").get<std::int64_t>();
      };
      if (length(recorded) != length(actual))
        differ(path + " quiet period", std::to_string(length(recorded)), std::to_string(length(actual)));
    }
  } else if (recorded.is_array()) {
    if (recorded.size() != actual.size()) return differ(path, recorded.dump(), actual.dump());
    for (std::size_t i = 0; i < recorded.size(); ++i)
      compare_json(recorded[i], actual[i], path + "[" + std::to_string(i) + "]");
  } else {
    compare_value(recorded, actual, path);
  }
}

void Likeness::compare_value(const Json& recorded, const Json& actual, const std::string& path) {
  const std::string key = last_key(path);
  if (recorded.is_number()) {
    if (is_item_id(path)) {
      const std::string wanted = recorded_.name("item", recorded.dump()),
                        given = actual_.name("item", actual.dump());
      if (wanted != given) differ(path, recorded.dump() + " = " + wanted, actual.dump() + " = " + given);
      return;
    }
    if (is_one_of(key, {"inQueueSince", "buildableStartMilliseconds", "timestamp"})) {
      constexpr std::int64_t plausible_ms = 600'000;
      if (std::abs(actual.get<std::int64_t>() - wall_ms_) > plausible_ms)
        differ(path, "a time", actual.dump());
      return;
    }
    if (is_one_of(key, {"duration", "estimatedDuration"})) {
      const bool is_alike = (recorded > 0) == (actual > 0) && (recorded < 0) == (actual < 0);
      if (!is_alike) differ(path, recorded.dump(), actual.dump());
      return;
    }
    // Figures of a machine and of its load.
    if (key == "latest" || path.find(".monitorData.") != std::string::npos) return;
  }
  if (!recorded.is_string()) {
    if (recorded != actual) differ(path, recorded.dump(), actual.dump());
    return;
  }
  const std::string wanted = canonical_text(recorded_, recorded.get<std::string>());
  const std::string given = canonical_text(actual_, actual.get<std::string>());
  if (wanted != given) differ(path, recorded.dump(), actual.dump());
}

// --- pages and texts

void Likeness::compare_page(const recordings::Page& recorded, const HttpReply& actual) {
  const std::string title = title_of(actual.body);
  if (recorded.title.value_or("") != title) differ("title", recorded.title.value_or("none"), title);
  if (recorded.message) {
    const std::string wanted = joined_words(canonical_text(recorded_, *recorded.message));
    const std::string shown = canonical_text(actual_, shown_text(actual.body));
    if (shown.find(wanted) == std::string::npos) differ("message", wanted, shown);
  }
  const double ratio = static_cast<double>(actual.body.size()) / static_cast<double>(recorded.bytes);
  if (ratio < 0.85 || ratio > 1.15)
    differ("bytes", std::to_string(recorded.bytes), std::to_string(actual.body.size()));
}

std::string Likeness::canonical_text(Side& side, std::string text) {
  static const std::regex uuid(uuid_pattern), secret("\\b[0-9a-f]{64}\\b"),
      item_address("queue/item/([0-9]+)"),
      java_date("[A-Z][a-z]{2} [A-Z][a-z]{2} [0-9]{2} [0-9:]{8} UTC [0-9]{4}"),
      object_hash("@[0-9a-f]{6,8}\\b"), quiet("Expires in (?:[0-9.]+ (?:day|hr|min|sec|ms)s? ?)+"),
      logging("Logging ID=" + uuid_pattern), xml_time("<timestamp>[0-9]{13}</timestamp>");
  text = std::regex_replace(text, logging, "Logging ID=<uuid>");
  text = replaced(text, uuid, [&](const std::smatch& match) { return side.name("boot", match.str()); });
  text = std::regex_replace(text, secret, "<64 digits>");
  text = std::regex_replace(text, java_date, "<date>");
  text = std::regex_replace(text, object_hash, "@<hash>");
  text = std::regex_replace(text, quiet, "Expires in <time>");
  text = std::regex_replace(text, xml_time, "<timestamp>time</timestamp>");
  text = replaced(text, item_address, [&](const std::smatch& match) {
    return "queue/item/" + side.name("item", match[1].str());
  });
  return text;
}

/// What scripts print: "ID LABEL", "ID STATE LABEL", and numbered events, of which some speak of an item.
std::string Likeness::canonical_listing(Side& side, const std::string& text) {
  static const std::regex event("([0-9]+ (?:waiting|buildable|blocked|left|cancelled)) ([0-9]+)( .*)?"),
      other_event("[0-9]+ (?:online|offline|opened|closed|accepted|completed|continues) .*"),
      item("([0-9]+) (.*)");
  if (text.find("\n\tat ") != std::string::npos) {  // an error; recorded traces are cut anywhere
    const std::string shown = without_traces(text);
    return shown.substr(0, shown.find_last_not_of('\n') + 1);
  }
  std::string out;
  for (const std::string& line : split(text, '\n')) {
    std::smatch match;
    if (std::regex_match(line, match, event)) {
      out += match[1].str() + " " + side.name("item", match[2].str()) + match[3].str();
    } else if (!std::regex_match(line, other_event) && std::regex_match(line, match, item)) {
      out += side.name("item", match[1].str()) + " " + match[2].str();
    } else {
      out += line;
    }
    out += '\n';
  }
  return canonical_text(side, out);
}

void Likeness::compare_body(const std::string& recorded, const std::string& actual) {
  const std::string wanted = canonical_listing(recorded_, recorded),
                    given = canonical_listing(actual_, actual);
  if (wanted != given) differ("body", wanted, given);
  static const std::regex created("\nname=([^\n]*)\nsecret=([0-9a-f]{64})\n");
  std::smatch found;
  if (!std::regex_search(actual, found, created)) return;
  const auto [at, is_new] = secrets_.emplace(found[1].str(), found[2].str());
  if (at->second != found[2].str()) differ("secret of " + found[1].str(), "the same as before", "another");
}

}  // namespace skep::controller_sim
