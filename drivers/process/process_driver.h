// Executors as plain process groups on Linux, or in namespaces of their own (below).
//
// Plain: own session, own work directory copied from a directory image,
// own control groups where they are allowed, no inherited descriptor, no core dump, all of it found again
// after agentd was killed. No isolation of users or network, so a build can read and change what agentd can:
// for trusted builds, for trying out and for tests.
//
// In namespaces (docs/design/namespaces.md): the same, but the image is the root that they see, over which
// they have their changes; skep-sandbox stands where skep-join does otherwise, and what a build does reaches
// neither the executor's folder nor, but for what is shown read-only, this host's files.
//
// Layout below `root`, which several owners may share:
//   <id>/.skep-owner        the owner's mark: durable before the folder appears, so that no loss of power
//   makes
//                           a folder that nobody owns. The rest need only outlive a kill of agentd: after a
//                           restart of the machine no process is left that it speaks of.
//   <id>/record.json        owner, id, epoch, state, skep-join's pid and start time, boot id, cookie, control
//                           groups; written before what it speaks of is made
//   <id>/control/ticket     0600, from us; skep-join takes it away when it has read it
//   <id>/control/status     from skep-join: phase, attempt, exit code
//   <id>/{root,upper,scratch,sandbox}   in namespaces: see sandbox_plan.h; work is in `upper` then
//   <id>/{work,tmp,logs}    the agent's work directory and HOME; TMPDIR; what skep-join and the agent said
//   .owner-<tag>/new/<id>       being made     (renamed to <id> once they carry a record)
//   .owner-<tag>/leaving/<id>   being removed
//   .owner-<tag>/gone/<id>      ids that were destroyed: never started again
//
// Every process of an executor carries SKEP_EXECUTOR=<owner>/<id>@<root> in its environment and is in the
// executor's control groups; skep-join adopts its orphans. Without control groups (see capabilities) a
// process escapes only when it drops its whole environment AND outlives a skep-join that was killed from
// inside.
//
// Limits: open files and core dumps always; cpu, memory and number of processes by control groups where they
// are allowed; the disk is not limited.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "drivers/api/driver.h"
#include "drivers/api/images.h"

namespace skep::drivers {

/// What makes an executor more than a process: a root, processes, mounts and names of its own.
struct SandboxOptions {
  std::string program;  // path of skep-sandbox
  std::vector<std::string>
      binds;  // what of this host is shown, read-only: PATH or PATH:PATH-INSIDE, absolute
  std::vector<std::string> networks = {"host"};  // of host, none; the first is the default
  std::uint32_t first_user =
      80'000;               // where we are root: what is inside runs as one of these, one an executor
  std::uint32_t users = 0;  // 0: as we do
  Duration start_deadline = seconds(20);  // until skep-join runs inside
};

struct ProcessDriverOptions {
  std::optional<SandboxOptions> sandbox;      // driver "namespaces" instead of "process"
  std::string root;                           // absolute; made 0700 when missing
  std::string join_program;                   // path of skep-join; in a sandbox, inside
  std::map<std::string, std::string> images;  // name -> directory; the empty name is an empty directory
  ImageSource* image_source = nullptr;        // more images, of format directory_tar; outlives the driver
  std::string owner_tag = "skep";             // letters, digits, '.', '_' and '-'
  std::uint64_t max_open_files = 4096;
  std::int64_t max_processes = 4096;  // per executor, where control groups allow it
  bool uses_cgroups = true;           // where allowed; off: no limits, and one mark less to find processes by
  Duration linger = minutes(10);      // how long an executor waits for a new ticket after its agent ended
  Duration kill_deadline = seconds(10);
};

/// Also implements TicketDelivery and ChangeSource. A change listener must not call set_change_listener; when
/// that returns, the former listener does not run any more. The driver makes a group "skep-executors" below
/// the control group of this process and leaves it there, empty.
std::unique_ptr<Driver> make_process_driver(ProcessDriverOptions options);

}  // namespace skep::drivers
