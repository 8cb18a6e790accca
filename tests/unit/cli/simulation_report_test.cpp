#include "cli/simulation_report.h"

#include <catch2/catch.hpp>

#include "cli/fleet_file.h"
#include "cli/svg_chart.h"
#include "core/prng.h"
#include "tests/unit/whatif/fake_farm.h"

namespace simulation_report_test {

using namespace skep;
using namespace skep::cli;
using namespace skep::simulation::whatif;

namespace {

simulation::Plan plan_with(int hosts) {
  scheduler::SchedulerConfig config;
  config.templates.resize(1);
  config.templates[0].name = TemplateName("linux");
  config.templates[0].driver = "process";
  HostGroup group;
  group.count = hosts;
  return *make_plan(config, {"hosts", {group}}, 1);
}

std::string trace_text() {
  std::string text = "arrival,label,duration\n";
  for (int i = 0; i < 400; ++i) {
    text += "2026-11-23T08:" + std::to_string(10 + i / 10) + ":" + std::to_string(10 + i % 10) + "Z," +
            (i % 7 == 0   ? "nowhere"
             : i % 3 == 0 ? "\"a<b>&\"\"c\"\"\""
                          : "linux") +
            ",300\n";
  }
  return text;
}

Alternative alternative_of(const std::string& name, const TraceSummary& summary, std::size_t servers) {
  test::TextSource source(trace_text());
  TraceLoad load(source, "t", summary.first, first_arrival_at);
  return {
      name, "scheduler.yaml", name,
      run(plan_with(static_cast<int>(servers)), load, test::fake_farm(servers), RunOptions{summary.span()})};
}

Simulation simulation_of() {
  test::TextSource source(trace_text());
  Simulation out{"week<1>.csv", *scan_trace(source, "t"), 1, {0.5, 0.01}, {}};
  out.alternatives.push_back(alternative_of("20 hosts", out.summary, 20));
  out.alternatives.push_back(alternative_of("30 <hosts>", out.summary, 30));
  return out;
}

}  // namespace

TEST_CASE("simulation report: the page needs nothing from anywhere", "[unit][cli][simulate]") {
  const std::string page = simulation_html(simulation_of());
  for (const char* reference : {"http:", "https:", "//", "src=", "href=", "url(", "@import", "<script",
                                "<link", "<img", "<iframe", "<object", "xlink"}) {
    INFO(reference);
    CHECK(page.find(reference) == std::string::npos);
  }
  CHECK(page.find("week<1>") == std::string::npos);
  CHECK(page.find("week&lt;1&gt;.csv") != std::string::npos);
  CHECK(page.find("30 &lt;hosts&gt;") != std::string::npos);
  CHECK(page.find("a&lt;b&gt;&amp;&quot;c&quot;") != std::string::npos);
  CHECK(page.find("nan") == std::string::npos);
  CHECK(page.find("inf") == std::string::npos);
  CHECK(page.find("Side by side") != std::string::npos);
  CHECK(page.find("58 jobs never ran") != std::string::npos);
  CHECK(page.size() < 400'000);
}

TEST_CASE("simulation report: the same input gives the same bytes", "[unit][cli][simulate]") {
  const Simulation a = simulation_of(), b = simulation_of();
  CHECK(simulation_html(a) == simulation_html(b));
  CHECK(json::dump(simulation_json(a)) == json::dump(simulation_json(b)));
  CHECK(simulation_text(a, 0, false) == simulation_text(b, 0, false));
}

TEST_CASE("simulation report: JSON holds what the tables show", "[unit][cli][simulate]") {
  const json::Json out = simulation_json(simulation_of());
  CHECK(out["seed"] == 1);
  CHECK(out["trace"]["jobs"] == 400);
  REQUIRE(out["alternatives"].size() == 2);
  const json::Json& first = out["alternatives"][0];
  CHECK(first["name"] == "20 hosts");
  CHECK(first["hosts"] == 20);
  CHECK(first["never_started"] == 58);
  CHECK(first["wait"]["p95_ms"].get<std::int64_t>() > 0);
  CHECK(first["labels"].size() == 3);
  CHECK(first["labels"][0]["label"] == "linux");
  CHECK(first["labels"][2]["wait"]["p50_ms"].is_null());
  CHECK(first["utilisation"].get<double>() > 0);
  CHECK(first["cost"].get<double>() > 0);
  const json::Json& slots = first["timeline"]["slots"];
  std::int64_t busy = 0;
  for (const json::Json& slot : slots) busy += slot["busy_ms"].get<std::int64_t>();
  CHECK(busy == first["executor_time"]["busy_ms"].get<std::int64_t>());
  CHECK(busy == 342 * 300'000);
}

TEST_CASE("simulation report: tables", "[unit][cli][simulate]") {
  const std::string text = simulation_text(simulation_of(), 0, false);
  CHECK_THAT(text, Catch::StartsWith(
                       "trace week<1>.csv: 400 jobs, the first at 2026-11-23 08:10:10 UTC, the last 39m 9s "
                       "later; seed 1\n"));
  CHECK_THAT(text, Catch::Contains("ALTERNATIVE  WAIT P50"));
  CHECK_THAT(text, Catch::Contains("COST"));
  CHECK_THAT(text, Catch::Contains("! 20 hosts: 58 jobs never ran"));
  Simulation one = simulation_of();
  one.alternatives.pop_back();
  one.prices = {};
  CHECK(simulation_text(one, 0, false).find("COST") == std::string::npos);
  CHECK(simulation_html(one).find("Side by side") == std::string::npos);
}

TEST_CASE("simulation report: numbers always have a point", "[unit][cli][simulate]") {
  CHECK(fixed(1234.567, 2) == "1234.57");
  CHECK(fixed(0, 1) == "0.0");
  CHECK(html_escape("a\x1b[31m<\"&>") == "a [31m&lt;&quot;&amp;&gt;");
}

TEST_CASE("fleet file: groups of hosts, and what is wrong with them", "[unit][cli][simulate]") {
  const auto fleet = parse_fleet_text(
      "hosts:\n  - {name: big, count: 4, cpu: 32, memory: 128GiB, executors: 32, boot: 8s..20s, driver: "
      "process}\n"
      "  - {name: small, attributes: {zone: a}}\n",
      "hosts.yaml");
  REQUIRE(fleet);
  CHECK(fleet->name == "hosts.yaml");
  CHECK(fleet->hosts() == 5);
  CHECK(fleet->groups[0].capacity.cpu_millis == 32'000);
  CHECK(fleet->groups[0].takes.boot.most == seconds(20));
  CHECK(fleet->groups[1].attributes.at("zone") == "a");
  CHECK(fleet->groups[1].max_executors == 16);
  for (const auto& [text, wanted] :
       std::vector<std::pair<std::string, std::string>>{{"{}\n", "hosts"},
                                                        {"hosts:\n  - {cuont: 3}\n", "hosts.yaml:2"},
                                                        {"hosts:\n  - {boot: 20s..8s}\n", "such as 8s..20s"},
                                                        {"hosts:\n  - {name: A B}\n", "a-z, 0-9"},
                                                        {"hosts:\n  - {count: 0}\n", "count"}}) {
    INFO(text);
    const auto refused = parse_fleet_text(text, "hosts.yaml");
    REQUIRE(!refused);
    CHECK_THAT(refused.error().message, Catch::Contains(wanted));
  }
}

}  // namespace simulation_report_test
