// Strict pull reader for the two large replies of a controller: no tree is built, so a 10 MB queue costs
// little more than its facts. As strict as json::parse_strict: refuses duplicate keys, broken UTF-8, trailing
// text, nesting beyond bounds::max_json_depth and numbers that overflow.
//
//   JsonReader in(body);
//   in.enter_object();
//   while (in.next_key(key)) key == "id" ? id = in.number() : in.skip();
//   if (!in.finish()) ... in.problem() ...
//
// The first problem is kept and ends every loop; values read after it are empty. Pure; not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace skep::scheduler {

class JsonReader {
 public:
  explicit JsonReader(std::string_view text);  // keeps a view: the text must outlive the reader

  void enter_object();
  /// False at the end of the object and after a problem. Every key must be followed by exactly one value
  /// call.
  bool next_key(std::string_view& key);
  void enter_array();
  bool next_element();

  /// Consumes a null, if there is one.
  bool take_null();
  std::string text();
  bool flag();
  std::int64_t number();  // whole, 64 bits
  void skip();            // any value; checked all the same

  /// For the caller's own rules ("an item has no id").
  void refuse(const std::string& what);
  bool is_good() const { return problem_.empty(); }
  /// True if the one value was read to its end without a problem.
  bool finish();
  /// What is wrong and at which byte; empty if nothing is.
  const std::string& problem() const { return problem_; }

 private:
  struct Level {
    bool is_object;
    bool is_first;
    std::size_t first_key;  // in keys_
  };

  // These four are called for every few bytes, so they are here.
  void skip_blanks() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t'))
      ++at_;
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char wanted) {
    skip_blanks();
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }
  bool take_word(std::string_view word) {
    skip_blanks();
    if (text_.compare(at_, word.size(), word) != 0) return false;
    at_ += word.size();
    return true;
  }
  void enter(char bracket, bool is_object);
  void leave();
  bool next(char closing);
  std::string_view string_token(bool& has_escapes);
  std::string unescaped(std::string_view token);
  unsigned hex4(std::string_view token, std::size_t at);
  std::string_view number_token(bool& is_whole);
  void check_number();

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<Level> levels_;
  std::vector<std::string_view> keys_;    // of all open objects: for duplicates
  std::deque<std::string> decoded_keys_;  // the rare ones with escapes
  std::string problem_;
};

}  // namespace skep::scheduler
