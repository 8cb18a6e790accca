// Tables that fit a terminal, and texts that cannot steer it. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace skep::cli {

/// The first column names the row and gives way last; of the others the widest gives way first. Cut cells end
/// with an ellipsis.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.empty(); }
  /// width 0: no limit (output is no terminal). With colours, the title line is bold and words that mean
  /// trouble stand out.
  std::string to_text(std::size_t width, bool has_colours = false) const;

 private:
  std::vector<std::size_t> widths_for(std::size_t width) const;
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

/// Columns that a terminal needs for this UTF-8 text: two for East Asian wide characters and emoji, none for
/// combining ones.
std::size_t text_width(const std::string& text);
/// The text without what a terminal obeys: control characters and changes of direction become blanks, broken
/// UTF-8 becomes U+FFFD. Names of jobs, reasons and labels come from outside.
std::string printable(const std::string& text);
std::string ago_text(std::int64_t ms);

/// `*` stands for any run of characters.
bool matches_glob(const std::string& pattern, const std::string& text);

}  // namespace skep::cli
