// Charts as SVG elements, for pages that are read without a network. Colours and sizes are in the page's
// style sheet (simulation_html.cpp). Pure.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace skep::cli {

/// For text and attribute values; also takes away what printable() does.
std::string html_escape(const std::string& text);

using TextOf = std::function<std::string(double)>;

struct Series {
  std::string name;
  std::string colour;                         // "#2563eb"
  std::vector<std::optional<double>> values;  // one for each slot; nullopt: a gap
};

struct Axes {
  std::string title;
  double slot = 1;                       // width of a slot on the x axis
  double x_from = 0;                     // where the first slot begins
  std::vector<double> x_steps, y_steps;  // round distances of the grid, ascending; beyond the last: multiples
  TextOf x_text, y_text;
};

/// A line for each series over the same slots.
std::string line_chart(const Axes& axes, const std::vector<Series>& series);
/// Areas upon each other, the first lowest.
std::string area_chart(const Axes& axes, const std::vector<Series>& series);

/// One row of a chart of ranges: from `low` to `high`, with marks.
struct Range {
  std::string name, text;  // text: what the row says when pointed at
  std::string colour;
  double low = 0, middle = 0, high = 0, top = 0;
};
/// On a logarithmic axis from `least` on.
std::string range_chart(const std::string& title, const std::vector<Range>& rows, double least,
                        const TextOf& text);

struct Bar {
  std::string name, text, colour;
  double value = 0;
};
std::string bar_chart(const std::string& title, const std::vector<Bar>& bars);

}  // namespace skep::cli
