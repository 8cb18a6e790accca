// Executors as plain process groups on Linux: own session, own work directory copied from a directory image, no inherited
// descriptor, no core dump, all of it found again after agentd was killed. No isolation of users or network: for trusted
// builds, for trying out and for tests.
//
// Layout, one directory per executor below `root`:
//   <id>/record.json     owner tag, id, epoch, image, state, pid and start time of skep-join; written durably
//   <id>/control/        ticket (0600, from us), secret (0600, for the agent only while it joins), status (from skep-join)
//   <id>/work/           the agent's work directory
//   <id>/join.log
//   .gone/<id>           ids that were destroyed: they are never started again
// Every process of an executor carries SKEP_EXECUTOR=<owner>/<id> in its environment; skep-join adopts its orphans.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "drivers/api/driver.h"

namespace skep::drivers {

struct ProcessDriverOptions {
  std::string root;          // made 0700 when missing
  std::string join_program;  // path of skep-join
  std::map<std::string, std::string> images;  // name -> directory; the empty name is an empty directory
  std::string owner_tag = "skep";
  std::uint64_t max_open_files = 4096;
};

/// Also implements TicketDelivery and ChangeSource.
std::unique_ptr<Driver> make_process_driver(ProcessDriverOptions options);

}  // namespace skep::drivers
