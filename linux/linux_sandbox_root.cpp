#include <fcntl.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "linux/linux_sandbox_parts.h"

namespace skep::posix_host::sandbox {
namespace {

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&&) = delete;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

constexpr mode_t folder_mode = 0755;

/// A copy of what is mounted at and below `path`, mounted nowhere yet.
Result<Fd> clone_mount(const std::string& path, std::uint64_t attributes) {
  Fd tree(::open_tree(AT_FDCWD, path.c_str(),
                      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | static_cast<unsigned>(AT_RECURSIVE)));
  if (!tree) return step_error("bind " + path);
  mount_attr change{};
  change.attr_set = attributes;
  if (::mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &change, sizeof change) != 0)
    return step_error("shut " + path);
  return tree;
}

bool is_folder(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && S_ISDIR(info.st_mode);
}

Result<void> make_folder(const std::string& path) {
  for (std::size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
    const std::string part = path.substr(0, at);
    if (::mkdir(part.c_str(), folder_mode) != 0 && errno != EEXIST) return step_error("make " + part);
    if (at == std::string::npos) return {};
  }
}

Result<void> make_file(const std::string& path) {
  if (const std::size_t slash = path.rfind('/'); slash != 0) {
    if (auto made = make_folder(path.substr(0, slash)); !made) return made;
  }
  const Fd made(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  if (made || errno == EISDIR) return {};
  return step_error("make " + path);
}

/// `to` is made when it is not there; a link on the way is followed as a program inside would.
Result<void> attach(const Fd& tree, const std::string& to) {
  if (auto made = is_folder(tree.get()) ? make_folder(to) : make_file(to); !made) return made;
  char place[PATH_MAX];
  if (::realpath(to.c_str(), place) == nullptr) return step_error("find " + to);
  if (::move_mount(tree.get(), "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return step_error("mount on " + to);
  return {};
}

Result<void> mount_new(const char* type, const std::string& to, unsigned long flags, const char* options) {
  if (auto made = make_folder(to); !made) return made;
  if (::mount(type, to.c_str(), type, flags, options) != 0)
    return step_error(std::string("mount ") + type + " on " + to);
  return {};
}

std::string own_descriptor(const Fd& fd) {
  return "/proc/self/fd/" + std::to_string(fd.get());
}

/// By descriptors, for a path may hold what the options' grammar does not take.
Result<void> mount_root(const Sandbox& sandbox) {
  const auto opened = [](const std::string& path) {
    return Fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  };
  const Fd lower = opened(sandbox.lower), upper = opened(sandbox.upper), scratch = opened(sandbox.scratch);
  for (const auto& [fd, path] : {std::pair(&lower, &sandbox.lower), std::pair(&upper, &sandbox.upper),
                                 std::pair(&scratch, &sandbox.scratch)}) {
    if (!*fd) return step_error("open " + *path);
  }
  const std::string options = "lowerdir=" + own_descriptor(lower) + ",upperdir=" + own_descriptor(upper) +
                              ",workdir=" + own_descriptor(scratch) + ",volatile";
  // Without a right to the whole machine its marks must be such as every user may make.
  for (const char* more : {"", ",userxattr"}) {
    if (::mount("overlay", sandbox.root.c_str(), "overlay", MS_NOSUID | MS_NODEV, (options + more).c_str()) ==
        0)
      return {};
    if (errno != EPERM) break;
  }
  return step_error("mount an overlay on " + sandbox.root);
}

/// The calling process and its root become the new one's; the old root is in sight nowhere.
Result<void> change_root(const std::string& root) {
  if (::chdir(root.c_str()) != 0) return step_error("enter " + root);
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return step_error("change the root");
  if (::umount2(".", MNT_DETACH) != 0) return step_error("leave the old root");
  if (::chdir("/") != 0) return step_error("enter the new root");
  return {};
}

/// Made while the host's is in sight: without it the kernel refuses one to who has no right to all of the
/// machine.
Result<Fd> new_proc() {
  const Fd context(::fsopen("proc", FSOPEN_CLOEXEC));
  if (!context || ::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return step_error("make a /proc");
  Fd made(
      ::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
  if (!made) return step_error("make a /proc");
  return made;
}

/// As engines do it: what changes or tells of the whole machine is not for one executor.
Result<void> shut_proc() {
  for (const char* path : {"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"}) {
    if (::access(path, F_OK) != 0) continue;
    const auto tree = clone_mount(path, MOUNT_ATTR_RDONLY);
    if (!tree) return tree.error();
    if (::move_mount(tree->get(), "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) != 0)
      return step_error(std::string("shut ") + path);
  }
  for (const char* path : {"/proc/acpi", "/proc/scsi"}) {
    if (::access(path, F_OK) == 0 && ::mount("tmpfs", path, "tmpfs", MS_RDONLY, "size=4k") != 0)
      return step_error(std::string("shut ") + path);
  }
  for (const char* path : {"/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                           "/proc/sched_debug", "/proc/kmsg"}) {
    if (::access(path, F_OK) == 0 && ::mount("/dev/null", path, nullptr, MS_BIND, nullptr) != 0)
      return step_error(std::string("shut ") + path);
  }
  return {};
}

constexpr const char* devices[] = {"/dev/null",   "/dev/zero",    "/dev/full",
                                   "/dev/random", "/dev/urandom", "/dev/tty"};

Result<std::vector<std::pair<Fd, std::string>>> clone_all(const Sandbox& sandbox) {
  std::vector<std::pair<Fd, std::string>> trees;
  for (const char* path : devices) {
    auto tree = clone_mount(path, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    if (!tree) return tree.error();
    trees.emplace_back(std::move(*tree), path);
  }
  for (const Sandbox::Bind& bind : sandbox.binds) {
    auto tree = clone_mount(
        bind.from, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (bind.is_read_only ? MOUNT_ATTR_RDONLY : 0));
    if (!tree) return tree.error();
    trees.emplace_back(std::move(*tree), bind.to);
  }
  return trees;
}

Result<void> fill_dev() {
  for (const auto& [target, name] :
       {std::pair("/proc/self/fd", "/dev/fd"), std::pair("/proc/self/fd/0", "/dev/stdin"),
        std::pair("/proc/self/fd/1", "/dev/stdout"), std::pair("/proc/self/fd/2", "/dev/stderr"),
        std::pair("pts/ptmx", "/dev/ptmx")}) {
    if (::symlink(target, name) != 0) return step_error(std::string("make ") + name);
  }
  if (auto mounted =
          mount_new("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620");
      !mounted)
    return mounted;
  return mount_new("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777");
}

}  // namespace

Error step_error(const std::string& step, int code) {
  ErrorCode meaning = ErrorCode::generic;
  std::string hint;
  if (code == EPERM || code == EACCES) {
    meaning = ErrorCode::permission_denied;
    hint = "run skep-agentd as root, or let users make user namespaces";
  } else if (code == ENOSYS || code == EINVAL || code == ENODEV || code == EOPNOTSUPP) {
    meaning = ErrorCode::unsupported;
    hint = "needs Linux 5.12 with overlay, and folders on a file system that may hold an overlay's changes";
  } else if (code == ENOENT) {
    meaning = ErrorCode::not_found;
  } else if (code == ENOSPC || code == ENOMEM || code == EMFILE || code == ENFILE || code == EAGAIN) {
    meaning = ErrorCode::out_of_resources;
  }
  return Error::failed(meaning, "cannot " + step + ": " + std::strerror(code), hint);
}

Result<void> enter_root(const Sandbox& sandbox) {
  auto trees = clone_all(sandbox);
  if (!trees) return trees.error();
  const auto proc = new_proc();
  if (!proc) return proc.error();
  if (auto mounted = mount_root(sandbox); !mounted) return mounted;
  if (auto changed = change_root(sandbox.root); !changed) return changed;
  ::umask(022);
  if (auto mounted = mount_new("tmpfs", "/dev", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k"); !mounted)
    return mounted;
  for (const auto& [tree, to] : *trees) {
    if (auto attached = attach(tree, to); !attached) return attached;
  }
  if (auto attached = attach(*proc, "/proc"); !attached) return attached;
  if (auto shut = shut_proc(); !shut) return shut;
  if (auto filled = fill_dev(); !filled) return filled;
  if (auto made = make_folder(sandbox.work); !made) return made;
  if (sandbox.user && ::lchown(sandbox.work.c_str(), *sandbox.user, *sandbox.user) != 0)
    return step_error("give away " + sandbox.work);
  if (::sethostname(sandbox.host_name.c_str(), sandbox.host_name.size()) != 0)
    return step_error("set the host name");
  return {};
}

Result<void> bring_up_loopback() {
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  if (!socket || ::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0)
    return step_error("bring up its loopback");
  return {};
}

}  // namespace skep::posix_host::sandbox
