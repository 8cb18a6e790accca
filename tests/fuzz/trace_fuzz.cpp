// Traces of jobs, CSV and JSON lines. Whatever comes: lines are jobs in order or are told with a place, and
// how the bytes are cut changes nothing.
#include <algorithm>
#include <limits>

#include "simulation/whatif/trace_reader.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace skep::simulation::whatif;

class PieceSource : public ByteSource {
 public:
  PieceSource(std::string_view text, std::size_t piece) : rest_(text), piece_(piece) {}
  std::size_t read(char* into, std::size_t most) override {
    const std::size_t size = std::min({piece_, most, rest_.size()});
    rest_.copy(into, size);
    rest_.remove_prefix(size);
    return size;
  }

 private:
  std::string_view rest_;
  std::size_t piece_;
};

/// "fuzz:LINE:COLUMN: what"
bool names_a_place(const std::string& message) {
  if (!message.starts_with("fuzz:")) return false;
  const std::size_t line = message.find_first_not_of("0123456789", 5);
  if (line == 5 || line == std::string::npos || message[line] != ':') return false;
  const std::size_t column = message.find_first_not_of("0123456789", line + 1);
  return column != line + 1 && column != std::string::npos && message.compare(column, 2, ": ") == 0;
}

std::string read_all(std::string_view text, std::size_t piece) {
  PieceSource source(text, piece);
  TraceReader reader(source, "fuzz");
  std::string out;
  skep::Duration last{};
  for (;;) {
    const auto job = reader.next();
    if (!job) {
      SKEP_ASSERT(names_a_place(job.error().message));
      out += job.error().message + "\n";
      continue;
    }
    if (!*job) return out;
    SKEP_ASSERT((*job)->at >= last);
    SKEP_ASSERT((*job)->length >= skep::Duration::zero() && (*job)->quiet_period >= skep::Duration::zero());
    last = (*job)->at;
    out += std::to_string(last.count()) + " " + (*job)->label + "\n";
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = skep::fuzz::as_text(data, size);
  SKEP_ASSERT(read_all(text, std::numeric_limits<std::size_t>::max()) == read_all(text, 3));
  return 0;
}
