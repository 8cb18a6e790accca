#include "linux/linux_host_facts.h"

#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "core/ids.h"

namespace skep::posix_host {

HostFacts read_host_facts(const std::string& disk_path) {
  HostFacts facts;
  utsname names{};
  if (::uname(&names) == 0) {
    facts.arch = names.machine;
    const std::string full = names.nodename;
    for (char c : full.substr(0, full.find('.'))) {
      const bool is_upper = c >= 'A' && c <= 'Z';
      const char lower = is_upper ? static_cast<char>(c - 'A' + 'a') : c;
      facts.host_name += (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9') ? lower : '-';
    }
  }
  if (!is_valid_name(facts.host_name)) facts.host_name = "localhost";
  facts.capacity.cpu_millis = 1000 * std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN));
  facts.capacity.memory_bytes =
      static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
  std::ifstream("/proc/sys/kernel/random/boot_id") >> facts.boot_id;
  struct statvfs disk {};
  if (::statvfs(disk_path.c_str(), &disk) == 0)
    facts.capacity.disk_bytes =
        static_cast<std::int64_t>(disk.f_bavail) * static_cast<std::int64_t>(disk.f_frsize);
  return facts;
}

std::string program_folder() {
  std::error_code failure;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", failure);
  return failure ? "." : path.parent_path().string();
}

}  // namespace skep::posix_host
