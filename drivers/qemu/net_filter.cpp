#include "drivers/qemu/net_filter.h"

#include "linux/linux_files.h"
#include "linux/linux_run.h"

namespace skep::drivers::qemu {
namespace {

constexpr Duration nft_deadline = seconds(10);

Result<std::string> run_nft(const std::vector<std::string>& arguments) {
  posix_host::LaunchRequest request;
  request.argv = {"nft"};
  request.argv.insert(request.argv.end(), arguments.begin(), arguments.end());
  request.environment = posix_host::basic_environment();
  auto ran = posix_host::run_program(request, nft_deadline);
  if (!ran && ran.error().code == ErrorCode::not_found) {
    request.argv.front() = "/usr/sbin/nft";  // not every daemon has the system's programs on its path
    ran = posix_host::run_program(request, nft_deadline);
    if (!ran && ran.error().code == ErrorCode::not_found)
      return Error::failed(ErrorCode::unsupported, "nftables is not installed", "install nftables");
  }
  if (!ran) return ran.error();
  if (ran->exit_code == 0) return ran->output;
  const bool is_taken = ran->output.find("File exists") != std::string::npos;
  return Error::failed(is_taken ? ErrorCode::conflict : ErrorCode::generic, "nft refuses: " + ran->output);
}

}  // namespace

Result<void> probe_filter() {
  // Only checked: nothing is made.
  const auto checked = run_nft({"--check", "add", "table", family, std::string(table_prefix) + "probe"});
  if (!checked) return checked.error();
  return {};
}

Result<void> apply_filter(std::uint32_t user, const std::vector<Reach>& reaches,
                          const std::string& text_file) {
  if (auto written = posix_host::write_file_atomically(text_file, filter_text(user, reaches), 0600); !written)
    return written;
  const auto applied = run_nft({"--file", text_file});
  if (!applied) return applied.error();
  return {};
}

Result<void> remove_filter(const std::string& table) {
  // One transaction, which ends well whether or not there was one.
  const std::string name = std::string(family) + " " + table;
  const auto removed = run_nft({"add table " + name + "; delete table " + name});
  if (removed) return {};
  return Error::try_again(removed.error().code,
                          "cannot remove the filter " + table + ": " + removed.error().message);
}

}  // namespace skep::drivers::qemu
