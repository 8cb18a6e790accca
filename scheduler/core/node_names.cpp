#include "scheduler/core/node_names.h"

#include <algorithm>
#include <limits>

#include "core/bounds.h"
#include "core/check.h"

namespace skep::scheduler {
namespace {

constexpr std::string_view digits = "0123456789abcdefghijklmnopqrstuvwxyz";
constexpr std::size_t random_chars = 3;
constexpr std::size_t max_farm_chars = 20;

std::string to_base36(std::uint64_t value) {
  std::string text;
  do {
    text.insert(text.begin(), digits[static_cast<std::size_t>(value % 36)]);
    value /= 36;
  } while (value != 0);
  return text;
}

std::optional<std::uint64_t> from_base36(std::string_view text) {
  if (text.empty() || text.size() > 13) return std::nullopt;
  std::uint64_t value = 0;
  for (char c : text) {
    const std::size_t digit = digits.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    if (value > (std::numeric_limits<std::uint64_t>::max() - digit) / 36) return std::nullopt;
    value = value * 36 + digit;
  }
  return value;
}

std::string farm_part(std::string_view farm) {
  std::string part = name_part(farm).substr(0, max_farm_chars);
  while (!part.empty() && part.back() == '-') part.pop_back();
  return part.empty() ? "skep" : part;
}

}  // namespace

std::string name_part(std::string_view text) {
  std::string part;
  for (char c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (is_plain) {
      part += c;
    } else if (!part.empty() && part.back() != '-') {
      part += '-';
    }
  }
  while (!part.empty() && part.back() == '-') part.pop_back();
  return part;
}

ExecutorId make_node_name(std::string_view farm, const TemplateName& template_name, Epoch epoch,
                          std::uint64_t counter, Prng& prng) {
  std::string tail = "-" + to_base36(epoch) + "-" + to_base36(counter);
  for (std::size_t i = 0; i < random_chars; ++i) tail += digits[static_cast<std::size_t>(prng.below(36))];
  std::string head = farm_part(farm) + "-";
  std::string middle = name_part(template_name.text);
  if (middle.empty()) middle = "t";
  SKEP_ASSERT(head.size() + tail.size() < bounds::max_name_chars);
  middle = middle.substr(0, bounds::max_name_chars - head.size() - tail.size());
  while (middle.back() == '-') middle.pop_back();
  std::string name = head + middle + tail;
  SKEP_ASSERT(is_valid_name(name));
  return ExecutorId(std::move(name));
}

std::optional<NodeName> parse_node_name(std::string_view farm, std::string_view name) {
  const std::string head = farm_part(farm) + "-";
  if (!name.starts_with(head) || !is_valid_name(std::string(name))) return std::nullopt;
  name.remove_prefix(head.size());
  const std::size_t counter_dash = name.rfind('-');
  if (counter_dash == std::string_view::npos || counter_dash == 0) return std::nullopt;
  const std::size_t epoch_dash = name.rfind('-', counter_dash - 1);
  if (epoch_dash == std::string_view::npos || epoch_dash == 0) return std::nullopt;
  const std::string_view tail = name.substr(counter_dash + 1);
  if (tail.size() <= random_chars || !from_base36(tail.substr(0, tail.size() - random_chars)))
    return std::nullopt;
  const auto epoch = from_base36(name.substr(epoch_dash + 1, counter_dash - epoch_dash - 1));
  if (!epoch || *epoch == 0) return std::nullopt;
  return NodeName{std::string(name.substr(0, epoch_dash)), *epoch};
}

bool is_template_part(std::string_view template_part, const TemplateName& template_name) {
  std::string whole = name_part(template_name.text);
  if (whole.empty()) whole = "t";
  // Only a name that had to be cut may be a mere beginning.
  return whole == template_part ||
         (whole.size() > 20 && template_part.size() >= 20 && whole.starts_with(template_part));
}

}  // namespace skep::scheduler
