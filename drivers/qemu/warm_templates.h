// Machines that were booted once and saved while their guest waits for its start, so that clones of them are
// ready in a fraction of a boot. Below a folder that is ours alone:
//   <key>/{ram,state,overlay.qcow2}   0444: memory, the devices' state, the disk over the image's
//   <key>/about.json                  QEMU's version, digests of those, how the image's files were
//   new/                              the one that is made right now
// A key is made of QEMU's command line and the image's digests, so what differs in one of these has another
// template; one whose image's files were changed or replaced since serves no more. No secret is in them: a
// guest gets its name, ticket, time and randomness after it was resumed. Thread-safe.
#pragma once

#include <filesystem>
#include <map>
#include <mutex>
#include <string>

#include "core/result.h"
#include "core/time.h"
#include "drivers/qemu/image_check.h"
#include "drivers/qemu/qemu_texts.h"

namespace skep::drivers::qemu {

struct WarmTemplate {
  std::string key;
  std::string ram, state, disk;  // absolute paths; disk: empty where the image has none
  std::string version;           // of the QEMU that saved it
};

class WarmTemplates {
 public:
  struct Options {
    std::filesystem::path folder;
    std::string image_program;
    std::string cookie_name, cookie_value;  // in the environment of a QEMU that makes a template
    Duration boot_deadline = seconds(120);
  };
  explicit WarmTemplates(Options options) : options_(std::move(options)) {}

  /// That of the plan's machine (its id, user and memory file do not matter), made when there is none: takes
  /// a boot. One is made at a time; who comes meanwhile waits. An error says why a machine must boot instead;
  /// the same error comes for a minute without another attempt.
  Result<WarmTemplate> get(const VmPlan& plan);
  /// It does not serve: the next one is made anew.
  void forget(const WarmTemplate& made);
  /// What a killed process left half-made, with its QEMU; and templates whose image has left this host, or is
  /// not what it was. Does nothing while one is made.
  Result<void> remove_leftovers();

 private:
  Result<WarmTemplate> load(const std::string& key, const VmPlan& plan);
  Result<WarmTemplate> make(const std::string& key, const VmPlan& plan);
  Result<std::string> boot_and_save(const VmPlan& plan, const std::filesystem::path& place);
  Result<void> end_leftovers();
  Result<void> remove_stale() const;
  void remove_oldest() const;

  struct Failure {
    Error error;
    Instant until;
  };
  Options options_;
  ImageCheck files_;
  std::mutex lock_;                          // held while a template is looked for or made
  std::map<std::string, Failure> failures_;  // by key
};

/// Lets a clone that waits (VmPlan::MemoryFile::waits) run on from the template's state.
Result<void> resume(const std::string& qmp_socket_path, const WarmTemplate& from, Duration deadline);

}  // namespace skep::drivers::qemu
