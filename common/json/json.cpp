#include "common/json/json.h"

#include <set>
#include <vector>

namespace skep::json {
namespace {

/// Feeds nlohmann's DOM builder while it watches what the DOM would hide: duplicate keys, depth, lossy
/// numbers.
class StrictBuilder : public nlohmann::json_sax<Json> {
 public:
  StrictBuilder(Json& root, int max_depth) : dom_(root, false), max_depth_(max_depth) {}

  bool null() override { return dom_.null(); }
  bool boolean(bool value) override { return dom_.boolean(value); }
  bool number_integer(number_integer_t value) override { return dom_.number_integer(value); }
  bool number_unsigned(number_unsigned_t value) override { return dom_.number_unsigned(value); }
  bool number_float(number_float_t value, const string_t& text) override {
    // An integer that does not fit 64 bits arrives here: keeping a rounded value would be a guess.
    if (text.find_first_of(".eE") == std::string::npos) return refuse("a number that does not fit 64 bits");
    return dom_.number_float(value, text);
  }
  bool string(string_t& value) override { return dom_.string(value); }
  bool binary(binary_t& value) override { return dom_.binary(value); }
  bool start_object(std::size_t size) override {
    if (++depth_ > max_depth_) return refuse("nested too deeply");
    keys_.emplace_back();
    return dom_.start_object(size);
  }
  bool key(string_t& name) override {
    if (!keys_.back().insert(name).second) return refuse("the key \"" + name.substr(0, 60) + "\" twice");
    return dom_.key(name);
  }
  bool end_object() override {
    --depth_;
    keys_.pop_back();
    return dom_.end_object();
  }
  bool start_array(std::size_t size) override {
    if (++depth_ > max_depth_) return refuse("nested too deeply");
    return dom_.start_array(size);
  }
  bool end_array() override {
    --depth_;
    return dom_.end_array();
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& e) override {
    offset = position;
    if (problem.empty()) problem = e.what();
    return false;
  }

  std::string problem;
  std::size_t offset = 0;

 private:
  bool refuse(std::string what) {
    problem = std::move(what);
    return false;
  }
  nlohmann::detail::json_sax_dom_parser<Json> dom_;
  int max_depth_;
  int depth_ = 0;
  std::vector<std::set<std::string>> keys_;
};

Error missing(std::string_view key, const char* wanted) {
  return Error::failed(ErrorCode::malformed_reply,
                       "the field \"" + std::string(key) + "\" is missing or not " + wanted);
}

}  // namespace

Result<Json> parse_strict(std::string_view text, int max_depth) {
  // The library would skip it; RFC 8259 lets nobody send it.
  if (text.starts_with("\xEF\xBB\xBF"))
    return Error::failed(ErrorCode::malformed_reply,
                         "not the JSON that was expected: it begins with a byte order mark");
  // The library takes it for the end of the text; a text of JSON holds none.
  if (const std::size_t at = text.find('\0'); at != std::string_view::npos)
    return Error::failed(ErrorCode::malformed_reply,
                         "not the JSON that was expected: a NUL (byte " + std::to_string(at + 1) + ")");
  try {
    Json root;
    StrictBuilder builder(root, max_depth);
    if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
      std::string message = "not the JSON that was expected: " + builder.problem.substr(0, 200);
      if (builder.offset > 0) message += " (byte " + std::to_string(builder.offset) + ")";
      return Error::failed(ErrorCode::malformed_reply, std::move(message));
    }
    return root;
  } catch (const std::exception& e) {
    return Error::failed(ErrorCode::malformed_reply,
                         std::string("not the JSON that was expected: ") + e.what());
  }
}

std::string dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<std::string> get_string(const Json& object, std::string_view key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (found == object.end() || !found->is_string()) return missing(key, "a text");
  return found->get<std::string>();
}

Result<std::int64_t> get_int64(const Json& object, std::string_view key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (found == object.end() || !found->is_number_integer()) return missing(key, "a whole number");
  if (found->is_number_unsigned() && found->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX))
    return missing(key, "a 64 bit number");
  return found->get<std::int64_t>();
}

Result<bool> get_bool(const Json& object, std::string_view key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (found == object.end() || !found->is_boolean()) return missing(key, "true or false");
  return found->get<bool>();
}

}  // namespace skep::json
