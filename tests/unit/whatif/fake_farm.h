// A farm as a queue with a few servers: an executor is connected when its build starts, and gone a second
// after it. Jobs with the label "nowhere" wait for ever.
#pragma once

#include <algorithm>
#include <functional>
#include <map>

#include "simulation/whatif/trace_reader.h"
#include "simulation/whatif/virtual_farm.h"

namespace skep::test {

class FakeFarm : public simulation::whatif::VirtualFarm {
 public:
  FakeFarm(std::size_t servers, simulation::Load& load, simulation::Witness& witness)
      : free_at_(servers, simulation::start_of_time), load_(load), witness_(witness), next_(load.next()) {}

  Instant now() const override { return now_; }
  void run_until(Instant end) override {
    while (next_ && next_->at <= end) take();
    while (!due_.empty() && due_.begin()->first <= end) {
      const auto first = due_.begin();
      now_ = first->first;
      first->second();
      due_.erase(first);
      ++events_;
    }
    now_ = end;
  }
  std::size_t unfinished_jobs() const override { return unfinished_; }
  bool has_arrivals_left() const override { return next_.has_value(); }
  std::uint64_t events() const override { return events_; }
  std::string problem() const override { return now_ >= breaks_at_ ? "it stands still" : ""; }
  void break_at(Instant at) { breaks_at_ = at; }
  std::vector<simulation::ExecutorLife> living() const override {
    simulation::ExecutorLife idle;  // one that is kept, from before the first job
    idle.id = ExecutorId("idle");
    idle.template_name = TemplateName("linux");
    idle.ordered = simulation::start_of_time;
    idle.connected = simulation::start_of_time + seconds(10);
    idle.gone = now_;
    std::vector<simulation::ExecutorLife> out{idle};
    for (simulation::ExecutorLife life : lives_) {
      if (*life.first_build > now_ || life.gone <= now_) continue;
      if (life.last_build_end > now_) life.last_build_end.reset();
      life.gone = now_;
      out.push_back(life);
    }
    return out;
  }

 private:
  void take() {
    const simulation::Arrival arrival = *next_;
    ++unfinished_;
    due_.emplace(arrival.at, [this, arrival] { witness_.on_arrival(arrival, ++queue_ids_); });
    if (arrival.label != "nowhere") build(arrival);
    next_ = load_.next();
  }

  void build(const simulation::Arrival& arrival) {
    Instant& server = *std::min_element(free_at_.begin(), free_at_.end());
    controller_sim::BuildRecord record;
    record.started_at = std::max(arrival.at + arrival.quiet_period, server);
    record.ended_at = *record.started_at + arrival.length;
    server = *record.ended_at;
    simulation::ExecutorLife life;
    life.template_name = TemplateName("linux");
    life.ordered = *record.started_at - seconds(5);
    life.connected = life.first_build = record.started_at;
    life.last_build_end = record.ended_at;
    life.builds = 1;
    life.gone = *record.ended_at + seconds(1);
    lives_.push_back(life);
    due_.emplace(*record.started_at, [=, this] { witness_.on_build_started(record, arrival); });
    due_.emplace(*record.ended_at, [=, this] {
      --unfinished_;
      witness_.on_build_ended(record, arrival);
    });
    due_.emplace(life.gone, [=, this] { witness_.on_executor_gone(life); });
  }

  std::vector<Instant> free_at_;
  simulation::Load& load_;
  simulation::Witness& witness_;
  std::optional<simulation::Arrival> next_;
  std::multimap<Instant, std::function<void()>> due_;
  std::vector<simulation::ExecutorLife> lives_;
  Instant now_ = simulation::start_of_time;
  Instant breaks_at_ = Instant::max();
  std::size_t unfinished_ = 0;
  std::uint64_t events_ = 0;
  std::int64_t queue_ids_ = 0;
};

inline simulation::whatif::MakeFarm fake_farm(std::size_t servers) {
  return [servers](simulation::Plan, simulation::Load& load,
                   simulation::Witness& witness) -> std::unique_ptr<simulation::whatif::VirtualFarm> {
    return std::make_unique<FakeFarm>(servers, load, witness);
  };
}

/// A trace that lies in memory, given in small pieces so that lines are cut anywhere.
class TextSource : public simulation::whatif::ByteSource {
 public:
  explicit TextSource(std::string text, std::size_t piece = 7) : text_(std::move(text)), piece_(piece) {}
  std::size_t read(char* into, std::size_t most) override {
    const std::size_t size = std::min({piece_, most, text_.size() - at_});
    text_.copy(into, size, at_);
    at_ += size;
    return size;
  }

 private:
  std::string text_;
  std::size_t piece_, at_ = 0;
};

}  // namespace skep::test
