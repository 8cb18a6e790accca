#include "common/config/config_reader.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <set>
#include <sstream>

#include "core/nearest_name.h"
#include "core/resources.h"
#include "core/url.h"

namespace skep::config {
namespace {

constexpr std::size_t max_file_bytes = 1u << 20;
constexpr int max_depth = 16;
constexpr int max_entries = 100'000;  // with every alias counted as what it stands for
constexpr std::size_t max_problems = 100;

std::string describe(const YAML::Node& node) {
  if (!node.IsDefined() || node.IsNull()) return "nothing";
  if (node.IsSequence()) return "a list";
  if (node.IsMap()) return "a mapping";
  std::string text = node.Scalar();
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return "\"" + text + "\"";
}

int line_of(const YAML::Node& node) {
  return node.Mark().is_null() ? 0 : node.Mark().line + 1;
}

/// Aliases make a small file a large, even an endless, tree: what is wrong with the size of it, or "".
std::string size_problem(const YAML::Node& node, int depth, int& entries, int& line) {
  if (line_of(node) > 0) line = line_of(node);
  if (depth > max_depth) return "nested too deeply; allowed: " + std::to_string(max_depth) + " levels";
  if (++entries > max_entries) return "too large; allowed: " + std::to_string(max_entries) + " entries";
  if (!node.IsMap() && !node.IsSequence()) return {};
  for (const auto& child : node) {
    const YAML::Node& value = node.IsMap() ? child.second : static_cast<const YAML::Node&>(child);
    if (auto problem = size_problem(value, depth + 1, entries, line); !problem.empty()) return problem;
  }
  return {};
}

/// One line of limited length, whatever the file holds.
std::string one_line(const std::string& text) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (char c : text.substr(0, 300)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      out += c;
    } else {
      out += std::string("\\x") + digits[byte >> 4] + digits[byte & 15];
    }
  }
  return text.size() > 300 ? out + "..." : out;
}

std::string range_text(std::int64_t least, std::int64_t most) {
  return "a whole number from " + std::to_string(least) + " to " + std::to_string(most);
}

std::string duration_text(Duration d) {
  const std::int64_t ms = to_ms(d);
  if (ms % 1000 != 0) return std::to_string(ms) + "ms";
  if (ms % 3'600'000 == 0 && ms != 0) return std::to_string(ms / 3'600'000) + "h";
  if (ms % 60'000 == 0 && ms != 0) return std::to_string(ms / 60'000) + "m";
  return std::to_string(ms / 1000) + "s";
}

}  // namespace

std::string Problem::to_text() const {
  std::string out = file;
  if (line > 0) out += ":" + std::to_string(line);
  out += ": ";
  if (!key_path.empty()) out += one_line(key_path) + ": ";
  out += "found " + one_line(found);
  if (!allowed.empty()) out += "; allowed: " + allowed;
  if (!nearest.empty()) out += "; did you mean \"" + nearest + "\"?";
  return out;
}

struct ConfigDocument::Impl {
  std::string file;
  YAML::Node root;
  std::vector<Problem> problems;
};

struct ConfigSection::Impl {
  ConfigDocument::Impl* document;
  std::shared_ptr<ConfigDocument::Impl> keep_alive;
  YAML::Node node;
  std::string path;
  int line = 0;
  std::set<std::string, std::less<>> known;

  std::string path_of(std::string_view key) const {
    return path.empty() ? std::string(key) : path + "." + std::string(key);
  }
  YAML::Node find(std::string_view key) const {
    if (!node.IsDefined() || !node.IsMap()) return YAML::Node(YAML::NodeType::Undefined);
    for (const auto& entry : node) {
      if (entry.first.IsScalar() && entry.first.Scalar() == key) return entry.second;
    }
    return YAML::Node(YAML::NodeType::Undefined);
  }
  void add_problem(std::string_view key, const YAML::Node& at, std::string found, std::string allowed) {
    const int at_line = at.IsDefined() && line_of(at) > 0 ? line_of(at) : line;
    document->problems.push_back({document->file,
                                  std::max(at_line, 1),
                                  path_of(key.substr(0, 300)),
                                  std::move(found),
                                  std::move(allowed),
                                  {}});
  }
  /// The scalar at `key`; nullopt when it is missing, or (with a problem) when it is no scalar.
  std::optional<std::string> scalar(std::string_view key, const std::string& allowed) {
    known.emplace(key);
    const YAML::Node value = find(key);
    if (!value.IsDefined()) return std::nullopt;
    if (!value.IsScalar()) {
      add_problem(key, value, describe(value), allowed);
      return std::nullopt;
    }
    return value.Scalar();
  }
};

ConfigSection::ConfigSection(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

bool ConfigSection::has(std::string_view key) const {
  return impl_->find(key).IsDefined();
}

std::string ConfigSection::text(std::string_view key, std::string fallback) {
  return impl_->scalar(key, "a text").value_or(std::move(fallback));
}

std::string ConfigSection::required_text(std::string_view key) {
  const bool is_there = has(key);
  const auto value = impl_->scalar(key, "a text");
  if (!is_there) impl_->add_problem(key, impl_->node, "nothing", "a text; this key is required");
  if (value && value->empty())
    impl_->add_problem(key, impl_->find(key), "an empty text", "a text that is not empty");
  return value.value_or("");
}

std::string ConfigSection::one_of(std::string_view key, const std::vector<std::string>& allowed,
                                  const std::string& fallback) {
  std::string list;
  for (const std::string& word : allowed) list += (list.empty() ? "" : ", ") + word;
  const auto value = impl_->scalar(key, "one of " + list);
  if (!value) return fallback;
  if (std::find(allowed.begin(), allowed.end(), *value) != allowed.end()) return *value;
  impl_->add_problem(key, impl_->find(key), "\"" + *value + "\"", "one of " + list);
  return fallback;
}

bool ConfigSection::flag(std::string_view key, bool fallback) {
  return one_of(key, {"true", "false"}, fallback ? "true" : "false") == "true";
}

std::int64_t ConfigSection::integer(std::string_view key, std::int64_t fallback, std::int64_t least,
                                    std::int64_t most) {
  const auto value = impl_->scalar(key, range_text(least, most));
  if (!value) return fallback;
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), number);
  if (error == std::errc{} && end == value->data() + value->size() && number >= least && number <= most)
    return number;
  impl_->add_problem(key, impl_->find(key), "\"" + *value + "\"", range_text(least, most));
  return fallback;
}

Duration ConfigSection::duration(std::string_view key, Duration fallback, Duration least, Duration most) {
  const std::string allowed =
      "a duration such as 90s, 2m or 500ms, from " + duration_text(least) + " to " + duration_text(most);
  const auto value = impl_->scalar(key, allowed);
  if (!value) return fallback;
  const auto parsed = parse_duration(*value);
  if (parsed && *parsed >= least && *parsed <= most) return *parsed;
  impl_->add_problem(key, impl_->find(key), "\"" + *value + "\"", allowed);
  return fallback;
}

std::int64_t ConfigSection::bytes(std::string_view key, std::int64_t fallback, std::int64_t least,
                                  std::int64_t most) {
  const std::string allowed = "a size such as 512MiB or 20GiB, from " + std::to_string(least) + " to " +
                              std::to_string(most) + " bytes";
  const auto value = impl_->scalar(key, allowed);
  if (!value) return fallback;
  const auto parsed = parse_bytes(*value);
  if (parsed && *parsed >= least && *parsed <= most) return *parsed;
  impl_->add_problem(key, impl_->find(key), "\"" + *value + "\"", allowed);
  return fallback;
}

std::int64_t ConfigSection::cpu_millis(std::string_view key, std::int64_t fallback) {
  return thousandths(key, fallback, "a number of processors such as 2 or 0.5");
}

std::int64_t ConfigSection::thousandths(std::string_view key, std::int64_t fallback,
                                        const std::string& allowed) {
  const auto value = impl_->scalar(key, allowed);
  if (!value) return fallback;
  const auto parsed = parse_cpu(*value);
  if (parsed && *parsed >= 0) return *parsed;
  impl_->add_problem(key, impl_->find(key), "\"" + *value + "\"", allowed);
  return fallback;
}

std::vector<std::string> ConfigSection::texts(std::string_view key) {
  impl_->known.emplace(key);
  const YAML::Node value = impl_->find(key);
  std::vector<std::string> out;
  if (!value.IsDefined() || value.IsNull()) return out;
  if (value.IsScalar()) return {value.Scalar()};
  if (!value.IsSequence()) {
    impl_->add_problem(key, value, describe(value), "a list of texts");
    return out;
  }
  for (std::size_t i = 0; i < value.size(); ++i) {
    const YAML::Node item = value[i];
    if (item.IsScalar()) {
      out.push_back(item.Scalar());
    } else {
      impl_->add_problem(std::string(key) + "[" + std::to_string(i) + "]", item, describe(item), "a text");
    }
  }
  return out;
}

std::map<std::string, std::string> ConfigSection::text_map(std::string_view key) {
  impl_->known.emplace(key);
  const YAML::Node value = impl_->find(key);
  std::map<std::string, std::string> out;
  if (!value.IsDefined() || value.IsNull()) return out;
  if (!value.IsMap()) {
    impl_->add_problem(key, value, describe(value), "a mapping of texts");
    return out;
  }
  for (const auto& entry : value) {
    if (!entry.first.IsScalar()) continue;
    const std::string name = entry.first.Scalar();
    if (!entry.second.IsScalar()) {
      impl_->add_problem(std::string(key) + "." + name, entry.second, describe(entry.second), "a text");
    } else if (!out.emplace(name, entry.second.Scalar()).second) {
      impl_->add_problem(std::string(key) + "." + name, entry.second, "the key twice", "each key once");
    }
  }
  return out;
}

std::map<std::string, std::int64_t> ConfigSection::integer_map(std::string_view key) {
  std::map<std::string, std::int64_t> out;
  for (const auto& [name, value] : text_map(key)) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error == std::errc{} && end == value.data() + value.size() && number >= 0) {
      out[name] = number;
    } else {
      impl_->add_problem(std::string(key) + "." + name, impl_->find(key), "\"" + value + "\"",
                         "a whole number from 0");
    }
  }
  return out;
}

std::string ConfigSection::url(std::string_view key, std::string fallback, bool may_be_plain) {
  std::string url = text(key, std::move(fallback));
  if (url.empty()) return url;
  const bool is_plain = url.rfind("http://", 0) == 0;
  const auto parts = split_url(url);
  if (!is_plain && url.rfind("https://", 0) != 0) {
    problem(key, "\"" + url + "\"", "an address that starts with http:// or https://");
  } else if (url.find('@') != std::string::npos) {
    problem(key, "an address with a user name in it",
            "user and token_file keys, so that no secret stands in the address");
  } else if (!parts) {
    problem(key, "\"" + url + "\"", "a host and, after a colon, a port from 1 to 65535");
  } else if (is_plain && !is_loopback_host(parts->host) && !may_be_plain) {
    problem(key, "\"" + url + "\"",
            "https://, or http:// to this machine; allow_http: true sends the token unprotected");
  }
  if (url.back() != '/') url += '/';
  return url;
}

ConfigSection ConfigSection::section(std::string_view key) {
  impl_->known.emplace(key);
  auto child = std::make_shared<Impl>(*impl_);
  child->known.clear();
  child->path = impl_->path_of(key);
  child->node.reset(impl_->find(key));
  if (child->node.IsDefined() && line_of(child->node) > 0) child->line = line_of(child->node);
  if (child->node.IsDefined() && !child->node.IsMap() && !child->node.IsNull()) {
    impl_->add_problem(key, child->node, describe(child->node), "a mapping");
    child->node.reset(YAML::Node(YAML::NodeType::Undefined));
  }
  return ConfigSection(std::move(child));
}

std::vector<ConfigSection> ConfigSection::sections(std::string_view key) {
  impl_->known.emplace(key);
  std::vector<ConfigSection> out;
  const YAML::Node value = impl_->find(key);
  if (!value.IsDefined() || value.IsNull()) return out;
  if (!value.IsSequence()) {
    impl_->add_problem(key, value, describe(value), "a list of mappings");
    return out;
  }
  for (std::size_t i = 0; i < value.size(); ++i) {
    const std::string name = std::string(key) + "[" + std::to_string(i) + "]";
    const YAML::Node item = value[i];
    if (!item.IsMap()) {
      impl_->add_problem(name, item, describe(item), "a mapping");
      continue;
    }
    auto child = std::make_shared<Impl>(*impl_);
    child->known.clear();
    child->path = impl_->path_of(name);
    child->node.reset(item);
    child->line = line_of(item);
    out.push_back(ConfigSection(std::move(child)));
  }
  return out;
}

std::vector<std::pair<std::string, ConfigSection>> ConfigSection::named_sections(std::string_view key) {
  std::vector<std::pair<std::string, ConfigSection>> out;
  ConfigSection parent = section(key);
  if (!parent.impl_->node.IsDefined() || !parent.impl_->node.IsMap()) return out;
  for (const auto& entry : parent.impl_->node) {
    if (!entry.first.IsScalar()) continue;
    const std::string name = entry.first.Scalar();
    out.emplace_back(name, parent.section(name));
  }
  return out;
}

void ConfigSection::problem(std::string_view key, std::string found, std::string allowed) {
  impl_->add_problem(key, impl_->find(key), std::move(found), std::move(allowed));
}

void ConfigSection::done() {
  if (!impl_->node.IsDefined() || !impl_->node.IsMap()) return;
  std::set<std::string> seen;
  for (const auto& entry : impl_->node) {
    if (!entry.first.IsScalar()) {
      impl_->add_problem("", entry.first, "a key that is no text", "text keys");
      continue;
    }
    const std::string key = entry.first.Scalar();
    if (!seen.insert(key).second) impl_->add_problem(key, entry.first, "the key twice", "each key once");
    if (impl_->known.count(key) != 0) continue;
    Problem unknown{impl_->document->file,
                    std::max(line_of(entry.first), 1),
                    impl_->path_of(key),
                    "an unknown key",
                    {},
                    {}};
    for (const std::string& candidate : impl_->known)
      unknown.allowed += (unknown.allowed.empty() ? "" : ", ") + candidate;
    unknown.nearest = nearest_name(key, {impl_->known.begin(), impl_->known.end()});
    impl_->document->problems.push_back(std::move(unknown));
  }
}

const std::string& ConfigSection::path() const {
  return impl_->path;
}

ConfigDocument::ConfigDocument(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<ConfigDocument> ConfigDocument::load(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    return Error::failed(ErrorCode::not_found, "cannot read the configuration file " + file,
                         "check that it exists and that this user may read it");
  }
  std::string text(max_file_bytes + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (text.size() > max_file_bytes) {
    return Error::failed(ErrorCode::too_large, file + ": the configuration file is larger than 1 MiB");
  }
  return parse(text, file);
}

Result<ConfigDocument> ConfigDocument::parse(std::string_view text, const std::string& file_name) {
  const auto at_line = [&](int line) { return file_name + ":" + std::to_string(std::max(line, 1)) + ": "; };
  try {
    auto impl = std::make_shared<Impl>();
    impl->file = file_name;
    impl->root = YAML::Load(std::string(text));
    if (impl->root.IsDefined() && !impl->root.IsMap() && !impl->root.IsNull()) {
      return Error::failed(ErrorCode::invalid_input, at_line(line_of(impl->root)) + "found " +
                                                         one_line(describe(impl->root)) +
                                                         "; allowed: a mapping of keys");
    }
    int entries = 0, line = 1;
    if (const auto problem = size_problem(impl->root, 0, entries, line); !problem.empty())
      return Error::failed(ErrorCode::invalid_input, at_line(line) + problem);
    return ConfigDocument(std::move(impl));
  } catch (const YAML::Exception& e) {
    return Error::failed(ErrorCode::invalid_input,
                         at_line(e.mark.is_null() ? 1 : e.mark.line + 1) + "not YAML: " + one_line(e.msg));
  } catch (const std::exception& e) {
    return Error::failed(ErrorCode::invalid_input, at_line(1) + "not YAML: " + one_line(e.what()));
  }
}

ConfigSection ConfigDocument::root() {
  auto section = std::make_shared<ConfigSection::Impl>();
  section->document = impl_.get();
  section->keep_alive = impl_;
  section->node = impl_->root;
  section->line = 1;
  return ConfigSection(std::move(section));
}

const std::vector<Problem>& ConfigDocument::problems() const {
  return impl_->problems;
}

Result<void> ConfigDocument::verdict() const {
  if (impl_->problems.empty()) return {};
  // From top to bottom, as somebody who mends the file goes through it.
  std::vector<Problem> problems = impl_->problems;
  std::stable_sort(problems.begin(), problems.end(),
                   [](const Problem& a, const Problem& b) { return a.line < b.line; });
  std::ostringstream out;
  for (std::size_t i = 0; i < std::min(problems.size(), max_problems); ++i)
    out << (i == 0 ? "" : "\n") << problems[i].to_text();
  if (problems.size() > max_problems) {
    const Problem& next = problems[max_problems];
    out << "\n"
        << next.file << ":" << next.line << ": " << problems.size() - max_problems
        << " more problems from here on";
  }
  return Error::failed(ErrorCode::invalid_input, out.str(), "correct the file; nothing was changed");
}

}  // namespace skep::config
