#include "drivers/shared/gone_marks.h"

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "linux/linux_files.h"

namespace skep::drivers {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_gone = 20'000;
constexpr unsigned prune_every = 256;

}  // namespace

Error unseen(const ExecutorId& id, const Error& error) {
  return Error::unknown(error.code, "cannot look at executor " + id.text + ": " + error.message, error.hint);
}

bool is_valid_owner_tag(const std::string& tag) {
  return !tag.empty() && tag.size() <= 100 && std::all_of(tag.begin(), tag.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

Result<void> make_private_folder(const std::string& path) {
  std::error_code failure;
  if (!fs::create_directory(path, failure) && !failure) return {};  // it was there
  if (!failure) fs::permissions(path, fs::perms::owner_all, failure);
  if (!failure) return {};
  const bool is_full = failure == std::errc::no_space_on_device;
  return Error::failed(is_full ? ErrorCode::out_of_resources : ErrorCode::generic,
                       "cannot make the folder " + path + ": " + failure.message());
}

Result<void> GoneMarks::refuse(const ExecutorId& id) const {
  const auto is_gone = posix_host::is_there(folder_ + "/" + id.text);
  if (!is_gone) return unseen(id, is_gone.error());
  if (!*is_gone) return {};
  return Error::failed(ErrorCode::conflict,
                       "executor " + id.text + " was destroyed; ids are never used again");
}

Result<void> GoneMarks::mark(const ExecutorId& id) {
  if (++marked_ % prune_every == 0) prune();
  return posix_host::write_file_atomically(folder_ + "/" + id.text, "", 0600);
}

void GoneMarks::prune() const {
  std::error_code failure;
  std::vector<std::pair<fs::file_time_type, fs::path>> marks;
  for (auto entry = fs::directory_iterator(folder_, failure); !failure && entry != fs::directory_iterator();
       entry.increment(failure)) {
    marks.emplace_back(entry->last_write_time(failure), entry->path());
  }
  if (marks.size() <= max_gone) return;
  std::sort(marks.begin(), marks.end());
  for (std::size_t i = 0; i < marks.size() - max_gone; ++i) fs::remove(marks[i].second, failure);
}

}  // namespace skep::drivers
