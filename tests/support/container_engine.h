// Container engines for tests, each in a folder of its own: started at the first use by container_engine.py,
// which ends them, and removes everything, when this process ends in whatever way.
#pragma once

#include <string>

namespace skep::test {

struct TestEngine {
  std::string socket, image, folder, version;
  std::string skipped;  // why there is none; empty: there is one
};

/// "docker" or "podman". The same one for the whole run of this program.
const TestEngine& test_engine(const std::string& kind);

}  // namespace skep::test
