// Metrics in Prometheus' text form, by prometheus-cpp's core. Thread-safe.
// Names: skep_<part>_<what>_<unit>; every label has few values (never an executor's or a build's name).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace skep::metrics {

using Labels = std::map<std::string, std::string>;

class Registry {
 public:
  Registry();
  ~Registry();
  void set_gauge(const std::string& name, const std::string& help, const Labels& labels, double value);
  /// Counters only grow: smaller values are ignored.
  void set_counter(const std::string& name, const std::string& help, const Labels& labels, double value);
  void observe(const std::string& name, const std::string& help, const Labels& labels, double value,
               const std::vector<double>& buckets);
  std::string to_text() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skep::metrics
