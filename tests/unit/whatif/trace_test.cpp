#include <catch2/catch.hpp>

#include "simulation/whatif/example_traces.h"
#include "simulation/whatif/trace_reader.h"
#include "tests/unit/whatif/fake_farm.h"

namespace trace_test {

using namespace skep;
using namespace skep::simulation;
using namespace skep::simulation::whatif;
using skep::test::TextSource;

namespace {

/// Every job as a text, every problem as its message.
std::vector<std::string> read_all(const std::string& text, std::size_t piece = 7) {
  TextSource source(text, piece);
  TraceReader reader(source, "t");
  std::vector<std::string> out;
  for (;;) {
    auto job = reader.next();
    if (!job) {
      out.push_back(job.error().message);
      continue;
    }
    if (!*job) return out;
    out.push_back(std::to_string(to_ms((*job)->at)) + " [" + (*job)->label + "] " +
                  std::to_string(to_ms((*job)->length)) + ((*job)->is_pipeline ? " pipeline" : "") +
                  ((*job)->quiet_period > Duration::zero() ? " quiet" : ""));
  }
}

std::string first_problem(const std::string& text) {
  const auto all = read_all(text);
  return all.empty() ? "" : all.back();
}

/// A million lines that are nowhere as a whole.
class EndlessSource : public ByteSource {
 public:
  explicit EndlessSource(std::uint64_t lines) : lines_(lines) {}
  std::size_t read(char* into, std::size_t most) override {
    std::size_t size = 0;
    while (size < most) {
      if (at_ == line_.size() && !make_line()) break;
      const std::size_t part = std::min(most - size, line_.size() - at_);
      line_.copy(into + size, part, at_);
      at_ += part;
      size += part;
    }
    return size;
  }

 private:
  bool make_line() {
    if (made_ > lines_) return false;
    line_ = made_ == 0
                ? "arrival,label,duration\n"
                : std::to_string(made_ / 10) + ",linux && rack" + std::to_string(made_ % 100) + ",60\n";
    ++made_;
    at_ = 0;
    return true;
  }
  std::uint64_t lines_, made_ = 0;
  std::string line_;
  std::size_t at_ = 0;
};

}  // namespace

TEST_CASE("trace: CSV, columns in any order, comments, blank lines, CRLF and a mark of UTF-8",
          "[unit][whatif][trace]") {
  const std::string text =
      "\xEF\xBB\xBF# by hand\r\nlabel,duration,arrival,kind,quiet,job\r\n\r\nlinux,60,0,pipeline,,a/b\r\n"
      "\"a, b\",1m30s,2.5,freestyle,5s,\r\n,1,2.5,,,\r\nlast,0,1970-01-01T00:01:00Z,,,";
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{100'000}}) {
    CHECK(read_all(text, piece) == std::vector<std::string>{"0 [linux] 60000 pipeline",
                                                            "2500 [a, b] 90000 quiet", "2500 [] 1000",
                                                            "60000 [last] 0"});
  }
}

TEST_CASE("trace: JSON lines", "[unit][whatif][trace]") {
  CHECK(read_all("{\"arrival_ms\":1790000000000,\"label\":\"linux\",\"duration_ms\":1500}\n\n"
                 "{\"label\":null,\"duration\":\"2m\",\"arrival\":\"2026-09-21T14:13:20Z\",\"kind\":"
                 "\"pipeline\"}\n") ==
        std::vector<std::string>{"1790000000000 [linux] 1500", "1790000000000 [] 120000 pipeline"});
}

TEST_CASE("trace: what is wrong is told with file, line, column, what was found and what is allowed",
          "[unit][whatif][trace]") {
  const std::string header = "arrival,label,duration\n";
  const std::vector<std::pair<std::string, std::string>> cases{
      {header + "1,a,60\nyesterday,a,60\n",
       "t:3:1: arrival: found \"yesterday\"; allowed: seconds (such as 12.5), or"},
      {header + "1,a,long\n", "t:2:5: duration: found \"long\"; allowed: seconds"},
      {header + "1,a,-5\n", "t:2:5: duration: found \"-5\""},
      {header + "1,a,400d\n", "t:2:5: duration: found \"400d\"; allowed: at most 366 days"},
      {header + "1,a\n", "t:2:3: found 2 fields; allowed: 3, as in the header"},
      {header + "1,\"a,60\n", "t:2:3: a quoted field without a closing quote"},
      {header + "5,a,60\n3.5,a,60\n",
       "t:3:1: found an arrival 1.5 s before the one above it; allowed: lines in"},
      {"1,a,60\n", "t:1:1: found no header; allowed: a first line that names the columns"},
      {"arival,label,duration\n", "t:1:1: found the name \"arival\"; allowed: arrival, arrival_ms"},
      {"arival,label,duration\n", "did you mean arrival?"},
      {"arrival,label\n1,a\n", "t:1:1: found no duration; allowed: duration or duration_ms"},
      {"arrival,arrival_ms,label,duration\n", "t:1:9: found arrival and arrival_ms; allowed: one of them"},
      {"arrival,duration\n", "t:1:1: found no column label"},
      {"arrival,label,label,duration\n", "t:1:15: found the column label again"},
      {"{\"arrival\":1,\"label\":\"a\"}\n", "t:1:1: found no duration"},
      {"{\"arrival\":1,\"duration\":1}\n", "t:1:1: found no label; allowed: an empty one for any node"},
      {"{\"arrival\":1,\"label\":\"a\",\"duration\":1,\"kind\":\"x\"}\n",
       "t:1:46: kind: found \"x\"; allowed: freestyle"},
      {"{\"arrival\":1,\"label\":\"a\",\"duration\":1,\"qiet\":1}\n", "did you mean quiet?"},
      {"{\"arrival\":1 \"label\"}\n", "t:1:14: found '\"'; allowed: a comma or }"},
      {header + std::string(LineReader::most_line_bytes + 10, 'x') + "\n",
       "t:2:1: found a line of more than 1 MiB"}};
  for (const auto& [text, wanted] : cases) {
    INFO(wanted);
    CHECK_THAT(first_problem(text), Catch::Contains(wanted));
  }
}

TEST_CASE("trace: a bad line does not hide the next ones, a bad header ends all", "[unit][whatif][trace]") {
  CHECK(read_all("arrival,label,duration\nx,a,1\n2,a,1\ny,a,1\n3,a,1\n").size() == 4);
  CHECK(read_all("arrival,label\nx,a\n2,a\n").size() == 1);
  const std::string too_long(3 * LineReader::most_line_bytes, 'x');
  CHECK(read_all("arrival,label,duration\n" + too_long + "\n2,a,1\n", 100'000).size() == 2);
}

TEST_CASE("trace: as a whole", "[unit][whatif][trace]") {
  TextSource good("arrival,label,duration\n10,a,60\n25,b,30\n");
  const auto summary = scan_trace(good, "t");
  REQUIRE(summary);
  CHECK(summary->jobs == 2);
  CHECK(summary->first == seconds(10));
  CHECK(summary->span() == seconds(15));
  CHECK(summary->work == seconds(90));
  CHECK(!summary->is_calendar());

  std::string many = "arrival,label,duration\n";
  for (int i = 0; i < 50; ++i) many += "x,a,60\n";
  TextSource bad(many);
  const auto refused = scan_trace(bad, "t");
  REQUIRE(!refused);
  CHECK(refused.error().code == ErrorCode::invalid_input);
  CHECK(std::count(refused.error().message.begin(), refused.error().message.end(), '\n') == 9);

  for (const char* text : {"", "\n\n", "arrival,label,duration\n"}) {
    TextSource empty(text);
    CHECK_THAT(scan_trace(empty, "t").error().message, Catch::Contains("t:1:1: found no job"));
  }
}

TEST_CASE("trace: a million lines are read without being kept", "[unit][whatif][trace]") {
  EndlessSource source(1'000'000);
  // All that the reader owns are a buffer, one line and its fields.
  TraceReader reader(source, "t");
  std::uint64_t jobs = 0;
  Duration last{};
  for (;;) {
    const auto job = reader.next();
    REQUIRE(job);
    if (!*job) break;
    ++jobs;
    last = (*job)->at;
    if (jobs % 100'000 == 0) CHECK(reader.held_bytes() < 2 * LineReader::buffer_bytes);
  }
  CHECK(jobs == 1'000'000);
  CHECK(last == seconds(100'000));
}

TEST_CASE("trace: as a load, the first job comes when it is told to", "[unit][whatif][trace]") {
  TextSource source("arrival,label,duration,quiet\n10,a,60,\n25,,30,5\nx,a,1,\n30,a,1,\n");
  TraceLoad load(source, "t", seconds(10), start_of_time + minutes(1));
  const auto first = load.next(), second = load.next();
  REQUIRE((first && second));
  CHECK(first->at == start_of_time + minutes(1));
  CHECK(second->at == start_of_time + minutes(1) + seconds(15));
  CHECK(second->label.empty());
  CHECK(second->length == seconds(30));
  CHECK(second->quiet_period == seconds(5));
  CHECK(!load.next());
  REQUIRE(load.error());
  CHECK_THAT(load.error()->message, Catch::Contains("t:4:1"));
  CHECK(!load.next());
}

TEST_CASE("trace: the examples are good traces, and the same for a seed", "[unit][whatif][trace]") {
  for (const auto trace : {ExampleTrace::office_day, ExampleTrace::release_day}) {
    const std::string text = make_example_trace(trace, 1);
    CHECK(text == make_example_trace(trace, 1));
    CHECK(text != make_example_trace(trace, 2));
    TextSource source(text, 4096);
    const auto summary = scan_trace(source, "example");
    REQUIRE(summary);
    CHECK(summary->jobs > 500);
    CHECK(summary->jobs < 3000);
    CHECK(summary->is_calendar());
  }
}

}  // namespace trace_test
