// Runs builds of skep-agent-sim as real processes in the node's root (createSlave's remoteFsRoot; a relative
// one counts from the agent's current directory, as in Jenkins' SlaveComputer.setChannel). A durable body
// (pipeline `sh`) is detached as durable-task does: it outlives the agent, and its result is found again in
// the work directory.
//
// Every build has a folder <workDir>/remoting/sim-builds/<id> with the files pid, started and, at its end,
// done (exit status). Linux only. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/controller_sim/agent/agent_messages.h"

namespace skep::controller_sim {

class BuildRunner {
 public:
  explicit BuildRunner(std::string work_directory) : root_(std::move(work_directory)) {}
  ~BuildRunner();
  BuildRunner(const BuildRunner&) = delete;
  BuildRunner& operator=(const BuildRunner&) = delete;

  void run(const RunMessage& message);
  void stop(std::uint64_t build);
  /// Builds that ended since the last call, with success.
  std::vector<std::pair<std::uint64_t, bool>> poll();
  /// The channel is gone: what is not durable dies with it.
  void kill_plain_builds();

 private:
  struct Running {
    int process = 0;
    bool durable = false;
  };
  std::string folder(std::uint64_t build) const;
  int start(const RunMessage& message);
  std::string root_;
  std::map<std::uint64_t, Running> running_;
};

}  // namespace skep::controller_sim
