// YAML configuration, checked as a whole: every problem names file, line, key path, what was found, what is
// allowed and the nearest known key. Unknown keys are errors. yaml-cpp stays inside the .cpp. Not
// thread-safe; throws nothing.
//
//   auto document = ConfigDocument::load(path);            // syntax errors, size and depth limits
//   ConfigSection root = document->root();
//   auto listen = root.text("listen", "127.0.0.1:0");
//   root.done();                                           // keys nobody asked for become problems
//   if (!document->problems().empty()) ...
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/time.h"

namespace skep::config {

struct Problem {
  std::string file;
  int line = 0;          // 1-based; 0: the file as a whole
  std::string key_path;  // "templates[2].resources.memory"
  std::string found;
  std::string allowed;
  std::string nearest;  // nearest known key, for unknown keys
  std::string to_text() const;
};

class ConfigDocument;

/// One mapping of the document. Reading a key marks it as known; reading with a wrong type or range records a
/// problem and returns the fallback.
class ConfigSection {
 public:
  bool has(std::string_view key) const;
  std::string text(std::string_view key, std::string fallback = {});
  std::string required_text(std::string_view key);
  std::string one_of(std::string_view key, const std::vector<std::string>& allowed,
                     const std::string& fallback);
  bool flag(std::string_view key, bool fallback);
  std::int64_t integer(std::string_view key, std::int64_t fallback, std::int64_t least, std::int64_t most);
  Duration duration(std::string_view key, Duration fallback, Duration least,
                    Duration most);  // "90s", "2m", "500ms"
  std::int64_t bytes(std::string_view key, std::int64_t fallback, std::int64_t least,
                     std::int64_t most);                                 // "512MiB"
  std::int64_t cpu_millis(std::string_view key, std::int64_t fallback);  // "1.5"
  /// "1.5" is 1500. `allowed` is told of anything else.
  std::int64_t thousandths(std::string_view key, std::int64_t fallback, const std::string& allowed);
  std::vector<std::string> texts(std::string_view key);  // list of scalars, or one scalar
  std::map<std::string, std::string> text_map(std::string_view key);
  std::map<std::string, std::int64_t> integer_map(std::string_view key);
  /// http(s):// with a trailing slash. Plain http:// beyond this machine only where `may_be_plain`; no user
  /// in it.
  std::string url(std::string_view key, std::string fallback = {}, bool may_be_plain = false);
  ConfigSection section(std::string_view key);                // missing: an empty one
  std::vector<ConfigSection> sections(std::string_view key);  // list of mappings
  std::vector<std::pair<std::string, ConfigSection>> named_sections(
      std::string_view key);  // mapping of mappings

  /// Records a problem at a key of this section (for checks that span keys).
  void problem(std::string_view key, std::string found, std::string allowed);
  /// Every key that was not read becomes a problem. Sections read from this one must be done() themselves.
  void done();
  const std::string& path() const;

 private:
  friend class ConfigDocument;
  struct Impl;
  explicit ConfigSection(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

class ConfigDocument {
 public:
  static Result<ConfigDocument> load(const std::string& file);  // at most 1 MiB
  static Result<ConfigDocument> parse(std::string_view text,
                                      const std::string& file_name);  // for tests and fuzzing
  ConfigSection root();
  const std::vector<Problem>& problems() const;
  /// All problems as one invalid_input error, or success.
  Result<void> verdict() const;

  struct Impl;

 private:
  explicit ConfigDocument(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace skep::config
