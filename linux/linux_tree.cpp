// copy_tree and remove_tree of linux_files.h: relative to open folders throughout, so that nothing that is
// renamed or replaced by a link meanwhile leads outside.
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "linux/linux_files.h"

namespace skep::posix_host {
namespace {

constexpr int max_open_levels = 32;  // deeper folders are first moved up
constexpr int folder_flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

Error tree_error(const std::string& what, const std::string& path) {
  const int code = errno;
  const std::string message = "cannot " + what + " " + path + ": " + std::strerror(code);
  if (code == ENOSPC || code == EDQUOT) {
    return Error::failed(ErrorCode::out_of_resources, message, "make room on that disk");
  }
  const bool is_forbidden = code == EACCES || code == EPERM || code == EROFS;
  return Error::try_again(is_forbidden ? ErrorCode::permission_denied : ErrorCode::generic, message);
}

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

/// Names first, then work: a folder that changes while it is read may repeat or skip entries.
Result<std::vector<std::string>> names_in(int folder, const std::string& path) {
  const int copy = ::openat(folder, ".", folder_flags);
  DIR* stream = copy < 0 ? nullptr : ::fdopendir(copy);
  if (stream == nullptr) return tree_error("read folder", path);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  ::closedir(stream);
  std::sort(names.begin(), names.end());
  return names;
}

bool copy_bytes(int from, int to) {
  if (::ioctl(to, FICLONE, from) == 0) return true;
  std::vector<char> buffer(256 * 1024);
  for (;;) {
    const ssize_t count = ::read(from, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return count == 0;
    for (ssize_t done = 0; done < count;) {
      const ssize_t written = ::write(to, buffer.data() + done, static_cast<std::size_t>(count - done));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return false;
      done += written;
    }
  }
}

/// Where an entry is read from and written to: two open folders, and both paths for messages.
struct Pair {
  int from, to;
  std::string from_path;
};

Result<void> copy_entry(const Pair& pair, const std::string& name, const std::string& new_name);

Result<void> copy_link(const Pair& pair, const std::string& name, const std::string& path) {
  std::string target(4096, '\0');
  const ssize_t size = ::readlinkat(pair.from, name.c_str(), target.data(), target.size());
  if (size < 0) return tree_error("read link", path);
  target.resize(static_cast<std::size_t>(size));
  if (::symlinkat(target.c_str(), pair.to, name.c_str()) != 0) return tree_error("copy link", path);
  return {};
}

Result<void> copy_folder(int from, int to, const std::string& path) {
  const auto names = names_in(from, path);
  if (!names) return names.error();
  for (const std::string& name : *names) {
    if (auto copied = copy_entry({from, to, path}, name, name); !copied) return copied;
  }
  return {};
}

Result<void> copy_entry(const Pair& pair, const std::string& name, const std::string& new_name) {
  const std::string path = pair.from_path.empty() ? name : pair.from_path + "/" + name;
  struct stat info {};
  if (::fstatat(pair.from, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return tree_error("copy", path);
  const timespec times[2] = {info.st_atim, info.st_mtim};
  const mode_t mode = info.st_mode & 07777;
  if (S_ISLNK(info.st_mode)) return copy_link(pair, name, path);
  if (S_ISDIR(info.st_mode)) {
    const Fd source(::openat(pair.from, name.c_str(), folder_flags));
    if (!source || ::mkdirat(pair.to, new_name.c_str(), 0700) != 0) return tree_error("copy folder", path);
    const Fd copy(::openat(pair.to, new_name.c_str(), folder_flags));
    if (!copy) return tree_error("copy folder", path);
    if (auto copied = copy_folder(source.get(), copy.get(), path); !copied) return copied;
    if (::fchmod(copy.get(), mode) != 0 || ::futimens(copy.get(), times) != 0)
      return tree_error("copy folder", path);
    return {};
  }
  if (!S_ISREG(info.st_mode)) {
    return Error::failed(ErrorCode::unsupported, "cannot copy " + path + ": it is no file, folder or link");
  }
  const Fd source(::openat(pair.from, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!source) return tree_error("copy", path);
  const Fd copy(
      ::openat(pair.to, new_name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!copy || !copy_bytes(source.get(), copy.get())) return tree_error("copy", path);
  if (::fchmod(copy.get(), mode) != 0 || ::futimens(copy.get(), times) != 0) return tree_error("copy", path);
  return {};
}

/// Follows ".." from a folder up to the root of the file systems.
bool is_inside(int folder, int ancestor) {
  struct stat wanted {
  }, here{}, above{};
  if (::fstat(ancestor, &wanted) != 0) return false;
  std::string up = ".";
  for (;;) {
    if (::fstatat(folder, up.c_str(), &here, 0) != 0) return false;
    if (here.st_ino == wanted.st_ino && here.st_dev == wanted.st_dev) return true;
    up += "/..";
    if (::fstatat(folder, up.c_str(), &above, 0) != 0) return false;
    if (above.st_ino == here.st_ino && above.st_dev == here.st_dev) return false;
  }
}

class Remover {
 public:
  Remover(int top, dev_t device, std::string path) : top_(top), device_(device), path_(std::move(path)) {}

  Result<void> remove_content() {
    // Each pass may move deep folders up to the top, where the next pass finds them.
    do {
      has_moved_ = false;
      if (auto removed = empty_folder(top_, path_, 0); !removed) return removed;
    } while (has_moved_);
    return {};
  }

 private:
  Result<void> empty_folder(int folder, const std::string& path, int level) {
    const auto names = names_in(folder, path);
    if (!names) return names.error();
    for (const std::string& name : *names) {
      if (auto removed = remove_entry(folder, name, path + "/" + name, level); !removed) return removed;
    }
    return {};
  }

  Result<void> remove_entry(int folder, const std::string& name, const std::string& path, int level) {
    struct stat info {};
    if (::fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      return errno == ENOENT ? Result<void>() : Result<void>(tree_error("remove", path));
    }
    if (!S_ISDIR(info.st_mode)) {
      if (::unlinkat(folder, name.c_str(), 0) == 0 || errno == ENOENT) return {};
      return tree_error("remove", path);
    }
    if (info.st_dev != device_) {
      return Error::try_again(ErrorCode::conflict,
                              "cannot remove " + path + ": another file system is mounted there",
                              "unmount it");
    }
    if (::unlinkat(folder, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return {};
    if ((info.st_mode & S_IRWXU) != S_IRWXU) make_usable(folder, name);
    if (level >= max_open_levels) return move_up(folder, name, path);
    const Fd child(::openat(folder, name.c_str(), folder_flags));
    if (!child) return tree_error("remove", path);
    if (auto removed = empty_folder(child.get(), path, level + 1); !removed) return removed;
    if (::unlinkat(folder, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return {};
    return tree_error("remove", path);
  }

  /// fchmodat would follow a link.
  static void make_usable(int folder, const std::string& name) {
    const Fd child(::openat(folder, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (child) ::chmod(("/proc/self/fd/" + std::to_string(child.get())).c_str(), 0700);
  }

  Result<void> move_up(int folder, const std::string& name, const std::string& path) {
    for (int attempt = 0; attempt < 1000; ++attempt) {
      const std::string up = ".deep-" + std::to_string(++moves_);
      if (::renameat2(folder, name.c_str(), top_, up.c_str(), RENAME_NOREPLACE) == 0) {
        has_moved_ = true;
        return {};
      }
      if (errno != EEXIST) break;
    }
    return tree_error("move", path);
  }

  int top_;
  dev_t device_;
  std::string path_;
  bool has_moved_ = false;
  int moves_ = 0;
};

}  // namespace

Result<void> copy_tree(const std::string& from, const std::string& to) {
  // An image may be named by a link; links inside it are copied as links.
  const Fd source(::open(from.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!source) return Error::failed(ErrorCode::not_found, "no such folder: " + from);
  if (::mkdir(to.c_str(), 0700) != 0) return tree_error("make folder", to);
  const Fd copy(::open(to.c_str(), folder_flags));
  if (!copy) return tree_error("open folder", to);
  if (is_inside(copy.get(), source.get())) {
    ::rmdir(to.c_str());
    return Error::failed(ErrorCode::invalid_input, "cannot copy " + from + " into itself");
  }
  if (auto copied = copy_folder(source.get(), copy.get(), from); !copied) return copied;
  struct stat info {};
  if (::fstat(source.get(), &info) != 0) return tree_error("copy", from);
  // The owner must be able to work in it, whatever the image's own mode says.
  if (::fchmod(copy.get(), (info.st_mode & 0777) | S_IRWXU) != 0) return tree_error("copy", from);
  return {};
}

Result<void> remove_tree(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? Result<void>() : Result<void>(tree_error("remove", path));
  }
  if (!S_ISDIR(info.st_mode)) {
    if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
    return tree_error("remove", path);
  }
  if ((info.st_mode & S_IRWXU) != S_IRWXU) ::chmod(path.c_str(), 0700);
  const Fd top(::open(path.c_str(), folder_flags));
  if (!top) return tree_error("remove", path);
  if (auto removed = Remover(top.get(), info.st_dev, path).remove_content(); !removed) return removed;
  if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return {};
  return tree_error("remove", path);
}

}  // namespace skep::posix_host
