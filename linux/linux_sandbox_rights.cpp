#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <vector>

#include "linux/linux_sandbox_parts.h"

namespace skep::posix_host::sandbox {
namespace {

/// Keyrings are no namespace's and outlive processes; the others are ways into the kernel that builds do not
/// need.
constexpr std::uint32_t refused[] = {SYS_add_key, SYS_request_key,     SYS_keyctl,
                                     SYS_bpf,     SYS_perf_event_open, SYS_userfaultfd};

#if defined(__x86_64__)
constexpr std::uint32_t own_arch = AUDIT_ARCH_X86_64;
/// The same in the table for 32-bit programs (arch/x86/entry/syscalls/syscall_32.tbl).
constexpr std::uint32_t small_arch = AUDIT_ARCH_I386;
constexpr std::uint32_t refused_small[] = {286, 287, 288, 357, 336, 374};
constexpr std::uint32_t first_x32 = 0x40000000;
#elif defined(__aarch64__)
constexpr std::uint32_t own_arch = AUDIT_ARCH_AARCH64;
constexpr std::uint32_t small_arch = AUDIT_ARCH_ARM;
constexpr std::uint32_t refused_small[] = {309, 310, 311, 386, 364, 388};
constexpr std::uint32_t first_x32 = 0xffffffff;
#else
constexpr std::uint32_t own_arch = 0;  // its numbers are not known here
constexpr std::uint32_t small_arch = 0;
constexpr std::uint32_t refused_small[6] = {};
constexpr std::uint32_t first_x32 = 0xffffffff;
#endif

sock_filter statement(unsigned code, std::uint32_t value) {
  return {static_cast<std::uint16_t>(code), 0, 0, value};
}
sock_filter jump(unsigned code, std::uint32_t value, std::size_t yes, std::size_t no) {
  return {static_cast<std::uint16_t>(code), static_cast<std::uint8_t>(yes), static_cast<std::uint8_t>(no),
          value};
}

/// Refuses each of `numbers`; ends with the rest allowed.
void add_table(std::vector<sock_filter>& program, const std::uint32_t (&numbers)[6]) {
  for (const std::uint32_t number : numbers) {
    program.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
    program.push_back(statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
  }
  program.push_back(statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
}

Result<void> filter_system_calls() {
  if (own_arch == 0) return step_error("filter the system calls of this processor", ENOSYS);
  constexpr std::size_t table = 2 * 6 + 1;
  std::vector<sock_filter> program{
      statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      jump(BPF_JMP | BPF_JEQ | BPF_K, own_arch, 0, 3 + table),
      statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      // Numbers of yet another table, which would pass the one below.
      jump(BPF_JMP | BPF_JGE | BPF_K, first_x32, 0, 1),
      statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
  };
  add_table(program, refused);
  program.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, small_arch, 1, 0));
  program.push_back(statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS));
  program.push_back(statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  add_table(program, refused_small);
  const sock_fprog all{static_cast<unsigned short>(program.size()), program.data()};
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all, 0, 0) != 0) return step_error("filter system calls");
  return {};
}

Result<void> become(std::uint32_t user) {
  if (::setgroups(0, nullptr) != 0) return step_error("leave all groups");
  if (::setresgid(user, user, user) != 0 || ::setresuid(user, user, user) != 0)
    return step_error("become user " + std::to_string(user));
  return {};
}

}  // namespace

Result<void> drop_rights(const Sandbox& sandbox) {
  for (unsigned long capability = 0; ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; ++capability) {
  }
  if (errno != EINVAL) return step_error("drop capabilities");  // EINVAL: there is no such one any more
  if (sandbox.user) {
    if (auto became = become(*sandbox.user); !became) return became;
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct none[2]{};
  if (::syscall(SYS_capset, &header, none) != 0) return step_error("drop capabilities");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return step_error("refuse new privileges");
  return filter_system_calls();
}

}  // namespace skep::posix_host::sandbox
