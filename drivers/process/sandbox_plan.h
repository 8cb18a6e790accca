// What an executor in namespaces is made of, and what skep-sandbox says of it. Thread-safe: no state that
// changes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/time.h"
#include "drivers/api/driver.h"
#include "drivers/process/process_driver.h"
#include "drivers/process/process_record.h"
#include "drivers/process/sandbox_texts.h"

namespace skep::drivers::process {

/// Inside.
constexpr const char* control_inside = "/skep/control";
constexpr const char* work_inside = "/skep/work";

/// Names of what is in an executor's folder beside what every executor of this driver has there.
constexpr const char* root_folder = "root";    // what the root is mounted on; also the image of who has none
constexpr const char* upper_folder = "upper";  // what was changed in it
constexpr const char* scratch_folder = "scratch";  // the overlay's own
constexpr const char* status_file = "sandbox";     // skep-sandbox's word

class SandboxPlan {
 public:
  explicit SandboxPlan(SandboxOptions options);

  /// Why the options cannot be used; empty: they can.
  std::string problem() const;
  /// Whether this host allows what the request wants.
  Result<void> check(const ExecutorSpec& spec) const;
  /// Makes the folders that it needs below an executor's that is being made, and gives away what the user
  /// inside must be able to change.
  Result<void> make_folders(const std::filesystem::path& executor, std::optional<std::uint32_t> user) const;
  /// argv of skep-sandbox around `program`; `image`: empty when the template names none.
  std::vector<std::string> command_line(const std::filesystem::path& executor, const std::string& image,
                                        const ExecutorSpec& spec, std::optional<std::uint32_t> user,
                                        std::vector<std::string> program) const;
  /// Until the program runs. An error says why it does not and will not; timed_out: it is not known.
  Result<void> wait_until_it_runs(const std::filesystem::path& executor,
                                  const posix_host::ProcessIdentity& sandbox) const;
  /// Makes one in a folder that is ours, with nothing in it, and removes it. An error names what this host
  /// does not allow.
  Result<void> try_out(const std::filesystem::path& folder) const;
  /// nullopt: all have our own. try_again when none is left. The caller keeps others from choosing at once.
  Result<std::optional<std::uint32_t>> choose_user(const Layout& layout) const;

 private:
  SandboxOptions options_;
  std::vector<posix_host::Sandbox::Bind> binds_;
};

}  // namespace skep::drivers::process
