// Text helpers of the stand-in controller: URLs and forms, Java properties, XML, HTML pages, Jenkins' time
// spans.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/labels/label_expression.h"
#include "core/time.h"

namespace skep::controller_sim {

using Fields = std::vector<std::pair<std::string, std::string>>;

std::string percent_decode(std::string_view text, bool plus_is_blank);
/// For one path segment: everything but unreserved characters and ()!*'$,;:@&=+ is escaped.
std::string percent_encode(std::string_view text);
/// "a=b&c=d" (query string or form body).
Fields parse_form(std::string_view text);
std::optional<std::string> find_field(const Fields& fields, std::string_view name);
std::string field_or(const Fields& fields, std::string_view name, std::string_view fallback);

std::vector<std::string> split(std::string_view text, char separator);
std::vector<std::string> split_blanks(std::string_view text);
/// The last segment of a path.
std::string leaf_name(const std::string& path);
bool equal_ignoring_case(std::string_view a, std::string_view b);

std::optional<std::string> base64_decode(std::string_view text);

/// java.util.Date.toString() in UTC: "Mon Nov 23 02:51:14 UTC 2026".
std::string java_date(WallTime time);
/// Properties.store: comment lines first, values and keys escaped; the result is pure ASCII.
std::string java_properties(const Fields& fields, WallTime time);

std::string xml_escape(std::string_view text);
/// The text of the first element with this name, unescaped; nullopt when there is none.
std::optional<std::string> xml_element(std::string_view xml, std::string_view element);
std::string json_quote(std::string_view text);
/// The string value of a key in a flat JSON text; only for the forms that Jenkins' own pages send.
std::optional<std::string> json_string_field(std::string_view json, std::string_view key);

/// hudson.Util.getTimeSpanString: "59 sec", "4.1 sec", "4 min 56 sec".
std::string time_span(std::int64_t ms);

/// An HTML page of about `size` bytes.
std::string html_page(std::string_view title, std::string_view heading, std::string_view text,
                      std::size_t size);

/// 64 hexadecimal digits that depend on all arguments. No cryptography: this is a stand-in.
std::string digest64(std::uint64_t seed, std::string_view purpose, std::string_view text);

/// The order in which a Java HashSet of these strings is iterated: Jenkins shows labels so.
std::vector<std::string> java_set_order(const std::vector<std::string>& insertion_order);

}  // namespace skep::controller_sim
