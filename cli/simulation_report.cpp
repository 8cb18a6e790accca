#include "cli/simulation_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "cli/table.h"
#include "core/resources.h"

namespace skep::cli {

using json::Json;
using namespace simulation::whatif;

namespace {

double hours_of(Duration time) {
  return static_cast<double>(to_ms(time)) / 3'600'000.0;
}

double rounded(double value, double steps) {
  return std::round(value * steps) / steps;
}

Json waits_json(const LogHistogram& waits) {
  if (waits.count() == 0)
    return Json{{"p50_ms", nullptr},
                {"p95_ms", nullptr},
                {"p99_ms", nullptr},
                {"max_ms", nullptr},
                {"mean_ms", nullptr}};
  return Json{{"p50_ms", to_ms(waits.quantile(500))},
              {"p95_ms", to_ms(waits.quantile(950))},
              {"p99_ms", to_ms(waits.quantile(990))},
              {"max_ms", to_ms(waits.most())},
              {"mean_ms", to_ms(waits.mean())}};
}

Json time_json(const std::array<Duration, doing_count>& time) {
  Json out = Json::object();
  for (std::size_t i = 0; i < doing_count; ++i)
    out[std::string(to_string(static_cast<Doing>(i))) + "_ms"] = to_ms(time[i]);
  return out;
}

Json labels_json(const Findings& findings) {
  Json out = Json::array();
  for (const std::string& name : labels_by_jobs(findings)) {
    const LabelFindings& label = findings.labels.at(name);
    out.push_back({{"label", name},
                   {"jobs", label.arrived},
                   {"never_started", label.arrived - label.started},
                   {"wait", waits_json(label.waits)}});
  }
  return out;
}

Json templates_json(const Findings& findings) {
  Json out = Json::array();
  for (const auto& [name, of_template] : findings.templates)
    out.push_back({{"template", name},
                   {"launched", of_template.launched},
                   {"unused", of_template.unused},
                   {"time", time_json(of_template.time)}});
  return out;
}

Json timeline_json(const Timeline& timeline) {
  Json slots = Json::array();
  for (const Slot& slot : timeline.slots()) {
    Json out = time_json(slot.time);
    out["arrivals"] = slot.arrivals;
    out["wait_p50_ms"] = slot.waits.count() == 0 ? Json() : Json(to_ms(slot.waits.quantile(500)));
    out["wait_p95_ms"] = slot.waits.count() == 0 ? Json() : Json(to_ms(slot.waits.quantile(950)));
    slots.push_back(std::move(out));
  }
  return Json{{"slot_ms", to_ms(timeline.width())}, {"slots", std::move(slots)}};
}

Json alternative_json(const Alternative& alternative, const Prices& prices) {
  const Findings& o = alternative.findings;
  const auto cost = cost_of(o, prices);
  return Json{{"name", alternative.name},
              {"policy", alternative.policy},
              {"fleet", alternative.fleet},
              {"hosts", o.hosts},
              {"room", o.room},
              {"window_ms", to_ms(o.window)},
              {"jobs", o.arrived},
              {"never_started", o.never_started()},
              {"still_running", o.still_running},
              {"wait", waits_json(o.waits)},
              {"labels", labels_json(o)},
              {"utilisation", rounded(o.utilisation(), 10'000)},
              {"busy_share", rounded(o.busy_share(), 10'000)},
              {"executor_time", time_json(o.time)},
              {"launched", o.launched},
              {"used", o.used},
              {"unused", o.unused},
              {"left_idle", o.left_idle},
              {"second_builds", o.second_builds},
              {"templates", templates_json(o)},
              {"cost", cost ? Json(rounded(*cost, 100)) : Json()},
              {"timeline", timeline_json(o.timeline)},
              {"events", o.events}};
}

std::string wait_cell(const LogHistogram& waits, int permille) {
  return waits.count() == 0 ? "-" : duration_to_text(waits.quantile(permille));
}

std::string percent(double part) {
  return fixed(part * 100, 1) + "%";
}

std::string alternatives_text(const Simulation& s, std::size_t width, bool has_colours) {
  std::vector<std::string> header{"ALTERNATIVE", "WAIT P50", "P95",  "P99",      "MAX",
                                  "NEVER RAN",   "UTILISED", "IDLE", "LAUNCHED", "UNUSED"};
  if (!s.prices.empty()) header.push_back("COST");
  Table table(std::move(header));
  for (const Alternative& alternative : s.alternatives) {
    const Findings& o = alternative.findings;
    std::vector<std::string> row{
        alternative.name,           wait_cell(o.waits, 500),
        wait_cell(o.waits, 950),    wait_cell(o.waits, 990),
        wait_cell(o.waits, 1000),   std::to_string(o.never_started()),
        percent(o.utilisation()),   fixed(hours_of(o.time[static_cast<std::size_t>(Doing::idle)]), 1) + " h",
        std::to_string(o.launched), std::to_string(o.unused)};
    if (const auto cost = cost_of(o, s.prices)) row.push_back(fixed(*cost, 2));
    table.add(std::move(row));
  }
  return table.to_text(width, has_colours);
}

std::string labels_text(const Simulation& s, std::size_t width, bool has_colours) {
  constexpr std::size_t most_shown = 20;
  Table table({"LABEL", "ALTERNATIVE", "JOBS", "WAIT P50", "P95", "P99", "MAX", "NEVER RAN"});
  const std::vector<std::string> names = labels_by_jobs(s.alternatives.front().findings);
  for (std::size_t i = 0; i < names.size() && i < most_shown; ++i) {
    for (const Alternative& alternative : s.alternatives) {
      const auto found = alternative.findings.labels.find(names[i]);
      if (found == alternative.findings.labels.end()) continue;
      const LabelFindings& label = found->second;
      table.add({names[i], alternative.name, std::to_string(label.arrived), wait_cell(label.waits, 500),
                 wait_cell(label.waits, 950), wait_cell(label.waits, 990), wait_cell(label.waits, 1000),
                 std::to_string(label.arrived - label.started)});
    }
  }
  std::string text = table.to_text(width, has_colours);
  if (names.size() > most_shown)
    text += "and " + std::to_string(names.size() - most_shown) + " more labels: --output json has them all\n";
  return text;
}

}  // namespace

std::optional<double> cost_of(const Findings& findings, const Prices& prices) {
  if (prices.empty()) return std::nullopt;
  return prices.host_hour.value_or(0) * static_cast<double>(findings.hosts) * hours_of(findings.window) +
         prices.executor_hour.value_or(0) * hours_of(findings.executor_time());
}

std::string fixed(double value, int decimals) {
  char text[64];
  const int length = std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return length > 0 ? std::string(text, std::min(static_cast<std::size_t>(length), sizeof text - 1)) : "";
}

std::string trace_time_text(const TraceSummary& summary, Duration at) {
  if (!summary.is_calendar()) return duration_to_text(at);
  const std::chrono::sys_seconds time{std::chrono::duration_cast<std::chrono::seconds>(at)};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02u-%02u %02d:%02d:%02d UTC", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return text;
}

std::vector<std::string> labels_by_jobs(const Findings& findings) {
  std::vector<std::string> names;
  for (const auto& [name, label] : findings.labels) names.push_back(name);
  std::stable_sort(names.begin(), names.end(), [&](const std::string& a, const std::string& b) {
    return findings.labels.at(a).arrived > findings.labels.at(b).arrived;
  });
  return names;
}

Json simulation_json(const Simulation& s) {
  Json alternatives = Json::array();
  for (const Alternative& each : s.alternatives) alternatives.push_back(alternative_json(each, s.prices));
  return Json{{"trace",
               {{"file", s.trace},
                {"jobs", s.summary.jobs},
                {"first_arrival_at_ms", to_ms(s.summary.first)},
                {"last_arrival_at_ms", to_ms(s.summary.last)},
                {"work_ms", to_ms(s.summary.work)}}},
              {"seed", s.seed},
              {"alternatives", std::move(alternatives)}};
}

std::string simulation_text(const Simulation& s, std::size_t width, bool has_colours) {
  std::string out = "trace " + printable(s.trace) + ": " + std::to_string(s.summary.jobs) +
                    " jobs, the first at " + trace_time_text(s.summary, s.summary.first) + ", the last " +
                    duration_to_text(s.summary.span()) + " later; seed " + std::to_string(s.seed) + "\n\n";
  out += alternatives_text(s, width, has_colours) + "\n" + labels_text(s, width, has_colours);
  for (const Alternative& alternative : s.alternatives) {
    if (alternative.findings.never_started() > 0)
      out += "! " + printable(alternative.name) + ": " +
             std::to_string(alternative.findings.never_started()) +
             " jobs never ran; skep labels 'LABEL' says which templates match\n";
    if (alternative.findings.second_builds > 0)
      out += "! " + printable(alternative.name) + ": " + std::to_string(alternative.findings.second_builds) +
             " executors served a second build\n";
  }
  return out;
}

}  // namespace skep::cli
