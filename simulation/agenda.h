// What happens when, in virtual time. Things of one instant happen in the order in which they were put down,
// so that a run is the same everywhere. Pure.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/time.h"
#include "simulation/task.h"

namespace skep::simulation {

class Agenda {
 public:
  void at(Instant when, Task what) {
    entries_.push_back({when, next_number_++, keep(std::move(what))});
    std::push_heap(entries_.begin(), entries_.end(), is_later);
  }
  bool is_empty() const { return entries_.empty(); }
  Instant next() const { return entries_.front().when; }
  std::size_t size() const { return entries_.size(); }
  Task take() {
    std::pop_heap(entries_.begin(), entries_.end(), is_later);
    const std::size_t place = entries_.back().place;
    entries_.pop_back();
    free_.push_back(place);
    return std::move(tasks_[place]);
  }

 private:
  struct Entry {
    Instant when{};
    std::uint64_t number = 0;
    std::size_t place = 0;  // in tasks_: the heap moves its entries about
  };
  static bool is_later(const Entry& a, const Entry& b) {
    return a.when != b.when ? a.when > b.when : a.number > b.number;
  }
  std::size_t keep(Task what) {
    if (free_.empty()) {
      tasks_.push_back(std::move(what));
      return tasks_.size() - 1;
    }
    const std::size_t place = free_.back();
    free_.pop_back();
    tasks_[place] = std::move(what);
    return place;
  }
  std::vector<Entry> entries_;
  std::vector<Task> tasks_;
  std::vector<std::size_t> free_;
  std::uint64_t next_number_ = 0;
};

}  // namespace skep::simulation
