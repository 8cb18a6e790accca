// Tables that fit a terminal: the widest columns give way first; cut cells end with an ellipsis. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace skep::cli {

class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.empty(); }
  /// width 0: no limit (output is no terminal).
  std::string to_text(std::size_t width) const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

/// Columns a terminal shows for this UTF-8 text, one for each code point.
std::size_t text_width(const std::string& text);
std::string ago_text(std::int64_t ms);

/// `*` stands for any run of characters.
bool matches_glob(const std::string& pattern, const std::string& text);

}  // namespace skep::cli
