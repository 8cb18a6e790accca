#include "tests/contract/controller_sim/unsupported.h"

#include <array>

namespace skep::controller_sim {
namespace {

struct Unsupported {
  const char* file;
  const char* step;
  const char* reason;
};

constexpr const char* console = "the stand-in's console says only on which node a block ran";

constexpr std::array<Unsupported, 3> unsupported{{
    {"pipeline-on-2.479.3/20-pipeline-node-blocks.json", "the blocks are in the console", console},
    {"pipeline-on-2.479.3/21-pipeline-over-a-restart.json", "its console", console},
    {"pipeline-on-2.479.3/23-companion-with-node-blocks.json", "console", console},
}};

}  // namespace

std::string why_unsupported(const recordings::Recording& recording, const recordings::Exchange& exchange) {
  for (const Unsupported& row : unsupported) {
    if (recording.file == row.file && exchange.step == row.step) return row.reason;
  }
  return {};
}

std::size_t count_of_unsupported() {
  return unsupported.size();
}

}  // namespace skep::controller_sim
