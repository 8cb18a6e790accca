// What one pass over demand works with: items in order, executors by template. Internal to plan.cpp. Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "scheduler/core/demand.h"
#include "scheduler/core/executor.h"

namespace skep::scheduler {

/// An item of a class: first the buildable ones, then the waiting ones that are due.
struct Cursor {
  DemandClass* demand_class = nullptr;
  std::size_t next = 0;
  std::size_t count = 0;
  DemandClass::Ref ref{};
  void look() {
    const std::size_t buildable = demand_class->buildable.size();
    ref = next < buildable ? demand_class->buildable[next] : demand_class->waiting[next - buildable];
  }
};

struct IsYounger {
  bool operator()(const Cursor& a, const Cursor& b) const { return b.ref < a.ref; }
};

class IndexSet {
 public:
  explicit IndexSet(std::size_t size) : is_in_(size, 0) {}
  void insert(std::size_t index) {
    count_ += is_in_[index] == 0 ? 1 : 0;
    is_in_[index] = 1;
  }
  void erase(std::size_t index) {
    count_ -= is_in_[index];
    is_in_[index] = 0;
  }
  bool empty() const { return count_ == 0; }

 private:
  std::vector<std::uint8_t> is_in_;
  std::size_t count_ = 0;
};

/// Executors of one template, oldest first; taken one after the other.
struct Stock {
  std::span<Executor* const> executors;
  std::size_t next = 0;
  std::size_t left() const { return executors.size() - next; }
  Executor* take() { return next < executors.size() ? executors[next++] : nullptr; }
};

struct Supply {
  Stock idle;  // can be offered now
  Stock coming;
  int spare() const { return static_cast<int>(idle.left() + coming.left()); }
};

/// Of all templates; one list, so that a pass does not allocate for each of them.
class Gathered {
 public:
  void add(std::size_t template_index, Executor& e) { found_.push_back({template_index, &e}); }
  void sort() {
    std::sort(found_.begin(), found_.end(), [](const Found& a, const Found& b) {
      if (a.index != b.index) return a.index < b.index;
      if (a.e->planned_at != b.e->planned_at) return a.e->planned_at < b.e->planned_at;
      return a.e->id() < b.e->id();
    });
    executors_.reserve(found_.size());
    for (const Found& each : found_) executors_.push_back(each.e);
  }
  /// To be asked for in the order of templates, once.
  Stock of(std::size_t template_index) {
    const std::size_t first = at_;
    while (at_ < found_.size() && found_[at_].index == template_index) ++at_;
    return {std::span(executors_).subspan(first, at_ - first)};
  }

 private:
  struct Found {
    std::size_t index;
    Executor* e;
  };
  std::vector<Found> found_;
  std::vector<Executor*> executors_;
  std::size_t at_ = 0;
};

}  // namespace skep::scheduler
