// Strong ids: two kinds of name can never be mixed up. All are plain text; ordering is by text, so containers
// are deterministic on every platform.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <utility>

namespace skep {

template <typename Tag>
struct StrongId {
  std::string text;
  StrongId() = default;
  explicit StrongId(std::string value) : text(std::move(value)) {}
  bool empty() const { return text.empty(); }
  friend auto operator<=>(const StrongId&, const StrongId&) = default;
};

using HostId = StrongId<struct HostIdTag>;          // a hypervisor host, by its host name
using ExecutorId = StrongId<struct ExecutorIdTag>;  // also the name of its Jenkins node; never used twice
using TemplateName = StrongId<struct TemplateNameTag>;
using ControllerId = StrongId<struct ControllerIdTag>;  // name of a Jenkins in the configuration

/// Number of a leader's term. Grows by one or more at each start of a leader; 0 means none yet.
using Epoch = std::uint64_t;

/// [a-z0-9-], 1..bounds::max_name_chars, starts and ends with a letter or digit: the only names we create.
bool is_valid_name(const std::string& text);

}  // namespace skep
