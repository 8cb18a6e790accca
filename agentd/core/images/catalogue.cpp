#include "agentd/core/images/catalogue.h"

#include <algorithm>

namespace skep::agentd::images {
namespace {

constexpr std::string_view default_channel = "stable";
constexpr std::size_t digits_in_name = 12;

bool is_plain(std::string_view text, std::size_t most) {
  constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+";
  return !text.empty() && text.size() <= most && text.front() != '.' &&
         text.find_first_not_of(allowed) == std::string_view::npos;
}

}  // namespace

std::string_view to_string(Format format) {
  constexpr std::array<std::string_view, all_formats.size()> names{"directory_tar", "vm", "container"};
  return names[static_cast<std::size_t>(format)];
}

Format format_of(std::string_view text) {
  const auto* const found = std::find_if(all_formats.begin(), all_formats.end(),
                                         [&](Format format) { return to_string(format) == text; });
  return found == all_formats.end() ? Format::directory_tar : *found;
}

std::string full_name(const CatalogueEntry& entry) {
  return entry.name + "@" + entry.version;
}

std::string copy_name(const CatalogueEntry& entry) {
  return full_name(entry) + "-" + entry.digest.substr(0, digits_in_name);
}

std::uint64_t bytes_of(const CatalogueEntry& entry) {
  std::uint64_t bytes = 0;
  for (const ImageFile& file : entry.files) bytes += file.bytes;
  return bytes;
}

std::uint64_t kept_bytes_of(const CatalogueEntry& entry) {
  return entry.format == Format::directory_tar ? entry.unpacked_bytes : bytes_of(entry);
}

std::uint64_t room_of(const CatalogueEntry& entry) {
  return bytes_of(entry) + (entry.format == Format::directory_tar ? entry.unpacked_bytes : 0);
}

std::uint64_t least_max_bytes(const ImagesConfig& config) {
  std::uint64_t kept = 0, most_more = 0;
  for (const CatalogueEntry& entry : config.catalogue) {
    if (entry.is_prefetched) kept += kept_bytes_of(entry);
    most_more = std::max(most_more, room_of(entry) - (entry.is_prefetched ? kept_bytes_of(entry) : 0));
  }
  return kept + most_more;
}

const CatalogueEntry* find(const std::vector<CatalogueEntry>& catalogue, std::string_view reference) {
  const bool is_full = reference.find('@') != std::string_view::npos;
  const CatalogueEntry* only = nullptr;
  int named = 0;
  for (const CatalogueEntry& entry : catalogue) {
    if (is_full) {
      if (full_name(entry) == reference) return &entry;
    } else if (entry.name == reference) {
      if (entry.channel == default_channel) return &entry;
      only = &entry;
      ++named;
    }
  }
  return named == 1 ? only : nullptr;
}

std::vector<std::string> references_of(const std::vector<CatalogueEntry>& catalogue,
                                       const CatalogueEntry& entry) {
  std::vector<std::string> names{full_name(entry)};
  if (find(catalogue, entry.name) == &entry) names.push_back(entry.name);
  return names;
}

bool is_valid_version(std::string_view text) {
  return is_plain(text, 40);
}

bool is_valid_file_name(std::string_view text) {
  return is_plain(text, 100);
}

}  // namespace skep::agentd::images
