#include "common/metrics/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace skep::metrics {

struct Registry::Impl {
  prometheus::Registry registry;  // itself thread-safe; asking for a family again gives the same one
};

Registry::Registry() : impl_(std::make_unique<Impl>()) {}
Registry::~Registry() = default;

void Registry::set_gauge(const std::string& name, const std::string& help, const Labels& labels,
                         double value) {
  prometheus::BuildGauge().Name(name).Help(help).Register(impl_->registry).Add(labels).Set(value);
}

void Registry::set_counter(const std::string& name, const std::string& help, const Labels& labels,
                           double value) {
  prometheus::Counter& counter =
      prometheus::BuildCounter().Name(name).Help(help).Register(impl_->registry).Add(labels);
  if (value > counter.Value()) counter.Increment(value - counter.Value());
}

void Registry::observe(const std::string& name, const std::string& help, const Labels& labels, double value,
                       const std::vector<double>& buckets) {
  prometheus::BuildHistogram()
      .Name(name)
      .Help(help)
      .Register(impl_->registry)
      .Add(labels, buckets)
      .Observe(value);
}

std::string Registry::to_text() const {
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace skep::metrics
