// The report of `skep simulate` for a browser: one file, charts as inline SVG, nothing is loaded from
// anywhere.
#include <algorithm>
#include <array>
#include <cmath>

#include "cli/simulation_report.h"
#include "cli/svg_chart.h"
#include "core/resources.h"

namespace skep::cli {

using namespace simulation::whatif;

namespace {

constexpr const char* page_before =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<title>skep simulate</title>\n<style>\n"
    "body { font: 15px/1.45 system-ui, sans-serif; color: #1f2937; background: #fff; margin: 2em auto; "
    "max-width: 1020px; padding: 0 1em; }\n"
    "h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #e5e7eb; }\n"
    "table { border-collapse: collapse; margin: 1em 0; } th, td { padding: .3em .8em; text-align: right; "
    "border-bottom: 1px solid #e5e7eb; } th:first-child, td:first-child { text-align: left; }\n"
    "th { color: #6b7280; font-weight: 600; } p.note { color: #6b7280; } p.trouble { color: #b91c1c; }\n"
    "svg { width: 100%; height: auto; margin: .6em 0; }\n"
    "text { font: 11px system-ui, sans-serif; fill: #374151; } text.title { font-size: 13px; font-weight: "
    "600; }\n"
    "text.x { text-anchor: middle; } text.y { text-anchor: end; }\n"
    "line.grid { stroke: #e5e7eb; } line.tick { stroke: #9ca3af; } line.mark { stroke: #111827; "
    "stroke-width: 2; } line.whisker { stroke: #9ca3af; }\n"
    "path.line { fill: none; stroke-width: 1.5; }\n</style>\n</head>\n<body>\n";

constexpr std::array<const char*, 6> colours{"#2563eb", "#ea580c", "#16a34a",
                                             "#9333ea", "#0891b2", "#be123c"};
constexpr std::size_t most_labels_shown = 20;

std::string colour_of(std::size_t i) {
  return colours[i % colours.size()];
}

double seconds_of(Duration time) {
  return static_cast<double>(to_ms(time)) / 1000.0;
}

Duration from_seconds(double value) {
  return milliseconds(static_cast<std::int64_t>(std::llround(value * 1000)));
}

std::string wait_text(double value) {
  return value == 0 ? "0" : duration_to_text(from_seconds(value));
}

/// "09:30", with the day where the trace is longer than two; the time since its beginning for a trace without
/// a calendar.
TextOf time_labels(const TraceSummary& summary) {
  if (!summary.is_calendar()) return [](double at) { return wait_text(at); };
  const bool has_days = summary.span() > hours(48);
  return [summary, has_days](double at) {
    const std::string text = trace_time_text(summary, from_seconds(at));
    return has_days ? text.substr(5, 11) : text.substr(11, 5);
  };
}

Axes time_axes(const std::string& title, const Simulation& s, const Timeline& timeline) {
  Axes axes;
  axes.title = title;
  axes.slot = seconds_of(timeline.width());
  axes.x_from = s.summary.is_calendar() ? seconds_of(s.summary.first) : 0;
  axes.x_steps = {60, 300, 900, 1800, 3600, 7200, 14'400, 21'600, 43'200, 86'400};
  axes.x_text = time_labels(s.summary);
  return axes;
}

Axes wait_axes(const std::string& title, const Simulation& s, const Timeline& timeline) {
  Axes axes = time_axes(title, s, timeline);
  axes.y_steps = {1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14'400, 43'200, 86'400};
  axes.y_text = wait_text;
  return axes;
}

Series waits_of(const std::string& name, const std::string& colour, const Timeline& timeline, int permille) {
  Series series{name, colour, {}};
  for (const Slot& slot : timeline.slots()) {
    if (slot.waits.count() == 0) {
      series.values.emplace_back();
    } else {
      series.values.emplace_back(seconds_of(slot.waits.quantile(permille)));
    }
  }
  return series;
}

std::string waits_chart(const Simulation& s, const Findings& findings) {
  const Timeline& timeline = findings.timeline;
  return line_chart(wait_axes("Wait of the jobs that arrived then", s, timeline),
                    {waits_of("p50", "#93c5fd", timeline, 500), waits_of("p95", "#2563eb", timeline, 950),
                     waits_of("longest", "#9ca3af", timeline, 1000)});
}

std::string executors_chart(const Simulation& s, const Findings& findings) {
  constexpr std::array<std::pair<Doing, const char*>, doing_count> kinds{{{Doing::busy, "#16a34a"},
                                                                          {Doing::leaving, "#9ca3af"},
                                                                          {Doing::idle, "#facc15"},
                                                                          {Doing::coming, "#60a5fa"}}};
  Axes axes = time_axes("Executors (average of each " + duration_to_text(findings.timeline.width()) +
                            "); room for " + std::to_string(findings.room),
                        s, findings.timeline);
  axes.y_steps = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000};
  axes.y_text = [](double value) { return fixed(value, 0); };
  std::vector<Series> series;
  for (const auto& [doing, colour] : kinds) {
    Series each{to_string(doing), colour, {}};
    for (const Slot& slot : findings.timeline.slots())
      each.values.emplace_back(seconds_of(slot.time[static_cast<std::size_t>(doing)]) / axes.slot);
    series.push_back(std::move(each));
  }
  return area_chart(axes, series);
}

Range range_of(const std::string& name, const std::string& colour, const LogHistogram& waits) {
  Range range{name, "", colour, 0, 0, 0, 0};
  range.low = seconds_of(waits.quantile(50));
  range.middle = seconds_of(waits.quantile(500));
  range.high = seconds_of(waits.quantile(950));
  range.top = seconds_of(waits.quantile(990));
  range.text = name + ": p5 " + wait_text(range.low) + ", p50 " + wait_text(range.middle) + ", p95 " +
               wait_text(range.high) + ", p99 " + wait_text(range.top) + " of " +
               std::to_string(waits.count());
  return range;
}

std::string labels_chart(const Findings& findings) {
  std::vector<Range> rows;
  for (const std::string& name : labels_by_jobs(findings)) {
    const LabelFindings& label = findings.labels.at(name);
    if (label.waits.count() > 0 && rows.size() < most_labels_shown)
      rows.push_back(range_of(name, "#93c5fd", label.waits));
  }
  return range_chart("Waits per label: p5 to p95, line at p50, whisker to p99", rows, 0.1, wait_text);
}

std::string cell(const std::string& text) {
  return "<td>" + html_escape(text) + "</td>";
}

std::string wait_cells(const LogHistogram& waits) {
  std::string out;
  for (const int permille : {500, 950, 990, 1000})
    out += cell(waits.count() == 0 ? "-" : duration_to_text(waits.quantile(permille)));
  return out;
}

std::string hours_text(Duration time) {
  return fixed(seconds_of(time) / 3600, 1) + " h";
}

std::string alternatives_table(const Simulation& s) {
  std::string out =
      "<table>\n<tr><th>alternative</th><th>wait p50</th><th>p95</th><th>p99</th><th>longest</th><th>never "
      "ran</th>"
      "<th>utilised</th><th>idle</th><th>launched</th><th>unused</th>";
  out += s.prices.empty() ? "</tr>\n" : "<th>cost</th></tr>\n";
  for (const Alternative& alternative : s.alternatives) {
    const Findings& f = alternative.findings;
    out += "<tr>" + cell(alternative.name) + wait_cells(f.waits) + cell(std::to_string(f.never_started())) +
           cell(fixed(f.utilisation() * 100, 1) + "%") +
           cell(hours_text(f.time[static_cast<std::size_t>(Doing::idle)])) +
           cell(std::to_string(f.launched)) + cell(std::to_string(f.unused));
    if (const auto cost = cost_of(f, s.prices)) out += cell(fixed(*cost, 2));
    out += "</tr>\n";
  }
  return out + "</table>\n";
}

std::string labels_table(const Findings& findings) {
  std::string out =
      "<table>\n<tr><th>label</th><th>jobs</th><th>wait p50</th><th>p95</th><th>p99</th><th>longest</th>"
      "<th>never ran</th></tr>\n";
  std::size_t rows = 0;
  for (const std::string& name : labels_by_jobs(findings)) {
    if (++rows > most_labels_shown) break;
    const LabelFindings& label = findings.labels.at(name);
    out += "<tr>" + cell(name) + cell(std::to_string(label.arrived)) + wait_cells(label.waits) +
           cell(std::to_string(label.arrived - label.started)) + "</tr>\n";
  }
  return out + "</table>\n";
}

std::string side_by_side(const Simulation& s) {
  std::vector<Bar> idle, costs;
  std::vector<Range> ranges;
  for (std::size_t i = 0; i < s.alternatives.size(); ++i) {
    const Alternative& each = s.alternatives[i];
    const Duration idle_time = each.findings.time[static_cast<std::size_t>(Doing::idle)];
    ranges.push_back(range_of(each.name, colour_of(i), each.findings.waits));
    idle.push_back({each.name, hours_text(idle_time), colour_of(i), seconds_of(idle_time)});
    if (const auto cost = cost_of(each.findings, s.prices))
      costs.push_back({each.name, fixed(*cost, 2), colour_of(i), *cost});
  }
  std::string out = range_chart("Waits: p5 to p95, line at p50, whisker to p99", ranges, 0.1, wait_text);
  out += bar_chart("Idle executors: hours", idle);
  if (!costs.empty()) out += bar_chart("Cost", costs);
  return out;
}

/// Empty when one ran so much longer that its slots are wider: lines over different slots share no axis.
std::string waits_side_by_side(const Simulation& s) {
  const Timeline& first = s.alternatives.front().findings.timeline;
  std::vector<Series> series;
  for (std::size_t i = 0; i < s.alternatives.size(); ++i) {
    const Timeline& timeline = s.alternatives[i].findings.timeline;
    if (timeline.width() != first.width()) return "";
    series.push_back(waits_of(s.alternatives[i].name, colour_of(i), timeline, 950));
  }
  return line_chart(wait_axes("Wait p95 of the jobs that arrived then", s, first), series);
}

std::string troubles(const Findings& findings) {
  std::string out;
  if (findings.never_started() > 0)
    out += "<p class=\"trouble\">" + std::to_string(findings.never_started()) + " jobs never ran.</p>\n";
  if (findings.second_builds > 0)
    out += "<p class=\"trouble\">" + std::to_string(findings.second_builds) +
           " executors served a second build.</p>\n";
  return out;
}

}  // namespace

std::string simulation_html(const Simulation& s) {
  std::string out = page_before;
  out += "<h1>What the farm would have done</h1>\n<p>Trace " + html_escape(s.trace) + ": " +
         std::to_string(s.summary.jobs) + " jobs, the first at " +
         html_escape(trace_time_text(s.summary, s.summary.first)) + ", the last " +
         html_escape(duration_to_text(s.summary.span())) + " later. Seed " + std::to_string(s.seed) +
         ".</p>\n";
  out += alternatives_table(s);
  out +=
      "<p class=\"note\">Wait: from arrival and quiet period to the start of the build. Utilised: busy "
      "executors "
      "as a part of what the hosts have room for. Idle: connected, without a build. Unused: launched and "
      "gone "
      "without a build. Quantiles may be off by 0.8%.</p>\n";
  if (s.alternatives.size() > 1) out += "<h2>Side by side</h2>\n" + side_by_side(s) + waits_side_by_side(s);
  for (const Alternative& alternative : s.alternatives) {
    out += "<h2>" + html_escape(alternative.name) + "</h2>\n" + troubles(alternative.findings) +
           waits_chart(s, alternative.findings) + executors_chart(s, alternative.findings) +
           labels_chart(alternative.findings) + labels_table(alternative.findings);
  }
  return out + "</body>\n</html>\n";
}

}  // namespace skep::cli
