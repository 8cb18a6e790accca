// What happens when, in virtual time. Things of one instant happen in the order in which they were put down,
// so that a run is the same everywhere. Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "core/time.h"

namespace skep::simulation {

class Agenda {
 public:
  void at(Instant when, std::function<void()> what) {
    entries_.push_back({when, next_number_++, std::move(what)});
    std::push_heap(entries_.begin(), entries_.end(), is_later);
  }
  bool is_empty() const { return entries_.empty(); }
  Instant next() const { return entries_.front().when; }
  std::size_t size() const { return entries_.size(); }
  std::function<void()> take() {
    std::pop_heap(entries_.begin(), entries_.end(), is_later);
    std::function<void()> what = std::move(entries_.back().what);
    entries_.pop_back();
    return what;
  }

 private:
  struct Entry {
    Instant when{};
    std::uint64_t number = 0;
    std::function<void()> what;
  };
  static bool is_later(const Entry& a, const Entry& b) {
    return a.when != b.when ? a.when > b.when : a.number > b.number;
  }
  std::vector<Entry> entries_;
  std::uint64_t next_number_ = 0;
};

}  // namespace skep::simulation
