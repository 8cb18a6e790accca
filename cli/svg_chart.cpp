#include "cli/svg_chart.h"

#include <algorithm>
#include <cmath>

#include "cli/simulation_report.h"
#include "cli/table.h"

namespace skep::cli {
namespace {

// One coordinate system for all: the page scales them.
constexpr double chart_width = 960, left_margin = 72, right_margin = 16, top_margin = 30;

struct Frame {
  double height = 260, bottom = 46;
  double x_most = 1, y_most = 1;
  double x(double value) const {
    return left_margin + value / x_most * (chart_width - left_margin - right_margin);
  }
  double y(double value) const { return height - bottom - value / y_most * (height - top_margin - bottom); }
};

std::string number(double value) {
  return fixed(value, 1);
}

std::string text_at(double x, double y, const char* style, const std::string& text) {
  return "<text class=\"" + std::string(style) + "\" x=\"" + number(x) + "\" y=\"" + number(y) + "\">" +
         html_escape(text) + "</text>\n";
}

std::string line_at(double x1, double y1, double x2, double y2, const char* style) {
  return "<line class=\"" + std::string(style) + "\" x1=\"" + number(x1) + "\" y1=\"" + number(y1) +
         "\" x2=\"" + number(x2) + "\" y2=\"" + number(y2) + "\"/>\n";
}

std::string rectangle(double x, double y, double w, double h, const std::string& colour,
                      const std::string& title) {
  return "<rect x=\"" + number(x) + "\" y=\"" + number(y) + "\" width=\"" + number(std::max(w, 0.5)) +
         "\" height=\"" + number(h) + "\" fill=\"" + colour + "\">" +
         (title.empty() ? "" : "<title>" + html_escape(title) + "</title>") + "</rect>\n";
}

std::string opening(const std::string& title, double height) {
  return "<svg viewBox=\"0 0 " + number(chart_width) + " " + number(height) +
         "\" role=\"img\" aria-label=\"" + html_escape(title) + "\">\n" +
         text_at(left_margin, 16, "title", title);
}

/// The distance of grid lines of which at most `most` are needed.
double step_for(double range, const std::vector<double>& steps, int most) {
  for (const double step : steps) {
    if (range / step <= most) return step;
  }
  const double last = steps.empty() ? 1.0 : steps.back();
  return last * std::ceil(range / last / most);
}

std::string legend(const std::vector<Series>& series, double height) {
  std::string out;
  double x = left_margin;
  for (const Series& each : series) {
    out += rectangle(x, height - 14, 12, 10, each.colour, "");
    out += text_at(x + 17, height - 5, "key", each.name);
    x += 40 + 7.0 * static_cast<double>(text_width(each.name));
  }
  return out;
}

std::string grid(const Axes& axes, const Frame& frame) {
  std::string out;
  const double y_step = step_for(frame.y_most, axes.y_steps, 6);
  for (double value = 0; value <= frame.y_most * 1.0001; value += y_step) {
    out += line_at(left_margin, frame.y(value), chart_width - right_margin, frame.y(value), "grid");
    out += text_at(left_margin - 6, frame.y(value) + 4, "y", axes.y_text(value));
  }
  const double x_step = step_for(frame.x_most, axes.x_steps, 8);
  const double first = std::ceil(axes.x_from / x_step) * x_step;
  for (double value = first; value <= axes.x_from + frame.x_most; value += x_step) {
    const double x = frame.x(value - axes.x_from);
    out += line_at(x, frame.height - frame.bottom, x, frame.height - frame.bottom + 4, "tick");
    out += text_at(x, frame.height - frame.bottom + 16, "x", axes.x_text(value));
  }
  return out;
}

std::size_t slots_of(const std::vector<Series>& series) {
  std::size_t most = 1;
  for (const Series& each : series) most = std::max(most, each.values.size());
  return most;
}

/// A gap begins a new line; a slot alone between gaps is a dot.
std::string line_of(const Series& series, const Axes& axes, const Frame& frame) {
  std::string path, dots;
  bool is_open = false;
  for (std::size_t i = 0; i < series.values.size(); ++i) {
    if (!series.values[i]) {
      is_open = false;
      continue;
    }
    const std::string x = number(frame.x((static_cast<double>(i) + 0.5) * axes.slot));
    const std::string y = number(frame.y(*series.values[i]));
    const bool is_alone = !is_open && (i + 1 == series.values.size() || !series.values[i + 1]);
    if (is_alone) {
      dots += "<circle cx=\"" + x + "\" cy=\"" + y + "\" r=\"1.5\" fill=\"" + series.colour + "\"/>\n";
      continue;
    }
    path += (is_open ? "L" : "M") + x + " " + y;
    is_open = true;
  }
  return "<path class=\"line\" stroke=\"" + series.colour + "\" d=\"" + path + "\"><title>" +
         html_escape(series.name) + "</title></path>\n" + dots;
}

/// What stands left of a row; the whole name is in the row's text.
std::string short_name(const std::string& name) {
  constexpr std::size_t most = 36;
  std::string text = printable(name);
  if (text_width(text) <= most) return text;
  while (text_width(text) >= most) {
    while (text.size() > 1 && (text.back() & 0xC0) == 0x80) text.pop_back();
    text.pop_back();
  }
  return text + "\xE2\x80\xA6";
}

double biggest(const std::vector<Series>& series) {
  double most = 0;
  for (const Series& each : series) {
    for (const auto& value : each.values) most = std::max(most, value.value_or(0));
  }
  return most;
}

}  // namespace

std::string html_escape(const std::string& text) {
  std::string out;
  for (const char c : printable(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string line_chart(const Axes& axes, const std::vector<Series>& series) {
  Frame frame;
  frame.x_most = static_cast<double>(slots_of(series)) * axes.slot;
  frame.y_most = std::max(biggest(series) * 1.05, axes.y_steps.empty() ? 1.0 : axes.y_steps.front());
  std::string out = opening(axes.title, frame.height) + grid(axes, frame);
  for (const Series& each : series) out += line_of(each, axes, frame);
  return out + legend(series, frame.height) + "</svg>\n";
}

std::string area_chart(const Axes& axes, const std::vector<Series>& series) {
  const std::size_t slots = slots_of(series);
  std::vector<std::vector<double>> tops{std::vector<double>(slots, 0.0)};
  for (const Series& each : series) {
    tops.push_back(tops.back());
    for (std::size_t i = 0; i < each.values.size(); ++i) tops.back()[i] += each.values[i].value_or(0);
  }
  Frame frame;
  frame.x_most = static_cast<double>(slots) * axes.slot;
  frame.y_most = std::max(*std::max_element(tops.back().begin(), tops.back().end()) * 1.05, 1.0);
  std::string out = opening(axes.title, frame.height) + grid(axes, frame);
  for (std::size_t s = 0; s < series.size(); ++s) {
    std::string there, back;  // steps: a slot holds an average, nothing is known of what is inside
    for (std::size_t i = 0; i < slots; ++i) {
      const std::string x1 = number(frame.x(static_cast<double>(i) * axes.slot));
      const std::string x2 = number(frame.x(static_cast<double>(i + 1) * axes.slot));
      const std::string up = number(frame.y(tops[s + 1][i])), down = number(frame.y(tops[s][i]));
      there += (i == 0 ? "M" : "L") + x1 + " " + up + "L" + x2 + " " + up;
      back = "L" + x2 + " " + down + "L" + x1 + " " + down + back;
    }
    out += "<path fill=\"" + series[s].colour + "\" d=\"" + there + back + "Z\"><title>" +
           html_escape(series[s].name) + "</title></path>\n";
  }
  return out + legend(series, frame.height) + "</svg>\n";
}

std::string range_chart(const std::string& title, const std::vector<Range>& rows, double least,
                        const TextOf& text) {
  constexpr double row_height = 24, names = 250;
  double most = least * 10;
  for (const Range& row : rows) most = std::max(most, row.top);
  const double height = top_margin + row_height * static_cast<double>(rows.size()) + 34;
  const auto x = [&](double value) {
    const double part = std::log(std::max(value, least) / least) / std::log(most / least);
    return names + part * (chart_width - names - 40);
  };
  std::string out = opening(title, height);
  for (const double value : {1.0, 10.0, 60.0, 600.0, 3600.0, 36'000.0, 86'400.0, 864'000.0}) {
    if (value < least || value > most) continue;
    out += line_at(x(value), top_margin, x(value), height - 28, "grid") +
           text_at(x(value), height - 12, "x", text(value));
  }
  double y = top_margin;
  for (const Range& row : rows) {
    out += text_at(names - 8, y + 16, "y", short_name(row.name));
    out += rectangle(x(row.low), y + 6, x(row.high) - x(row.low), 12, row.colour, row.text);
    out += line_at(x(row.middle), y + 3, x(row.middle), y + 21, "mark");
    out += line_at(x(row.high), y + 12, x(row.top), y + 12, "whisker");
    y += row_height;
  }
  return out + "</svg>\n";
}

std::string bar_chart(const std::string& title, const std::vector<Bar>& bars) {
  constexpr double row_height = 24, names = 250;
  double most = 0;
  for (const Bar& bar : bars) most = std::max(most, bar.value);
  const double height = top_margin + row_height * static_cast<double>(bars.size()) + 6;
  std::string out = opening(title, height);
  double y = top_margin;
  for (const Bar& bar : bars) {
    const double length = most > 0 ? bar.value / most * (chart_width - names - 130) : 0;
    out += text_at(names - 8, y + 16, "y", short_name(bar.name));
    out += rectangle(names, y + 4, length, 16, bar.colour, bar.name + ": " + bar.text);
    out += text_at(names + length + 6, y + 16, "key", bar.text);
    y += row_height;
  }
  return out + "</svg>\n";
}

}  // namespace skep::cli
