// Names of the nodes that we create: <farm>-<template>-<epoch>-<counter><3 random>, numbers in base 36, cut
// in the middle to bounds::max_name_chars. A name is never used twice: epoch and counter never repeat, and
// the random part keeps apart two farms that lost their state. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/ids.h"
#include "core/prng.h"

namespace skep::scheduler {

/// Letters and digits of `text` in lower case, everything else a dash; no dash at either end, no two in a
/// row.
std::string name_part(std::string_view text);

ExecutorId make_node_name(std::string_view farm, const TemplateName& template_name, Epoch epoch,
                          std::uint64_t counter, Prng& prng);

struct NodeName {
  std::string template_part;  // as written in the name; may be cut short
  Epoch epoch = 0;
};
/// nullopt: not a name that a scheduler of this farm made.
std::optional<NodeName> parse_node_name(std::string_view farm, std::string_view name);

/// True when `template_part` is how the template's name looks inside a node name.
bool is_template_part(std::string_view template_part, const TemplateName& template_name);

}  // namespace skep::scheduler
