#include "simulation/whatif/run.h"

#include <algorithm>

#include "core/labels/label_expression.h"
#include "simulation/whatif/fleet.h"

namespace skep::simulation::whatif {
namespace {

std::string label_name(const std::string& text) {
  return is_any_node_text(text) ? any_node : LabelExpression::from_job(text).name();
}

Duration since_first(Instant at) {
  return at - first_arrival_at;
}

/// Where an executor's stages begin; a stage that it did not reach begins where the next one does.
std::array<Instant, doing_count + 1> stages_of(const ExecutorLife& life) {
  const Instant connected = life.connected.value_or(life.gone);
  const Instant begun = life.first_build.value_or(life.gone);
  // A build of which the end was not told still runs.
  const Instant ended = life.first_build ? life.last_build_end.value_or(life.gone) : life.gone;
  std::array<Instant, doing_count + 1> out{life.ordered, connected, begun, ended, life.gone};
  for (std::size_t i = 1; i < out.size(); ++i) out[i] = std::max(out[i], out[i - 1]);
  return out;
}

class Observer : public Witness {
 public:
  explicit Observer(Findings& out) : out_(out) {}

  void on_arrival(const Arrival& arrival, std::int64_t /*queue_id*/) override {
    ++out_.arrived;
    ++label_of(arrival).arrived;
    out_.timeline.add_arrival(since_first(arrival.at));
  }

  void on_build_started(const controller_sim::BuildRecord& build, const Arrival& arrival) override {
    const Instant due = arrival.at + arrival.quiet_period;
    const Duration wait = std::max(build.started_at.value_or(due) - due, Duration::zero());
    ++out_.started;
    LabelFindings& label = label_of(arrival);
    ++label.started;
    label.waits.add(wait);
    out_.waits.add(wait);
    out_.timeline.add_wait(since_first(arrival.at), wait);
  }

  void on_build_ended(const controller_sim::BuildRecord& /*build*/, const Arrival& /*arrival*/) override {
    ++out_.ended;
  }

  void on_executor_gone(const ExecutorLife& life) override {
    add_life(life);
    TemplateFindings& of_template = out_.templates[life.template_name.text];
    if (life.builds == 0) {
      ++out_.unused;
      ++of_template.unused;
    }
  }

  void add_living(const ExecutorLife& life) {
    add_life(life);
    if (life.builds == 0) ++out_.left_idle;
  }

 private:
  LabelFindings& label_of(const Arrival& arrival) {
    const std::string name = label_name(arrival.label);
    const auto found = out_.labels.find(name);
    if (found != out_.labels.end()) return found->second;
    return out_.labels[out_.labels.size() < most_labels ? name : other_labels];
  }

  void add_life(const ExecutorLife& life) {
    TemplateFindings& of_template = out_.templates[life.template_name.text];
    ++out_.launched;
    ++of_template.launched;
    if (life.builds > 0) ++out_.used;
    if (life.builds > 1) ++out_.second_builds;
    const auto stages = stages_of(life);
    for (std::size_t i = 0; i < doing_count; ++i) {
      const Duration from = std::max(since_first(stages[i]), Duration::zero());
      const Duration to = since_first(stages[i + 1]);
      if (to <= from) continue;
      out_.time[i] += to - from;
      of_template.time[i] += to - from;
      out_.timeline.add_time(static_cast<Doing>(i), from, to);
    }
  }

  Findings& out_;
};

/// True when nothing will come any more, or when what waits will not start.
class Ending {
 public:
  bool is_over(const VirtualFarm& farm, const Findings& out) {
    if (out.started != started_ || out.ended != ended_ || farm.has_arrivals_left() ||
        out.started > out.ended) {
      started_ = out.started;
      ended_ = out.ended;
      quiet_since_ = farm.now();
    }
    if (farm.has_arrivals_left()) return false;
    return farm.unfinished_jobs() == 0 || farm.now() - quiet_since_ >= give_up_after;
  }

 private:
  std::uint64_t started_ = 0, ended_ = 0;
  Instant quiet_since_ = start_of_time;
};

double part(Duration of, long double whole) {
  return whole <= 0 ? 0.0 : static_cast<double>(static_cast<long double>(of.count()) / whole);
}

}  // namespace

Duration Findings::executor_time() const {
  Duration sum{};
  for (const Duration t : time) sum += t;
  return sum;
}

double Findings::utilisation() const {
  return part(time[static_cast<std::size_t>(Doing::busy)],
              static_cast<long double>(window.count()) * static_cast<long double>(room));
}

double Findings::busy_share() const {
  return part(time[static_cast<std::size_t>(Doing::busy)], static_cast<long double>(executor_time().count()));
}

Findings run(const Plan& plan, Load& load, const MakeFarm& make_farm, const RunOptions& options,
             const Progress& progress) {
  Findings out;
  out.timeline = Timeline(options.span + minutes(30));
  out.room = room_of(plan);
  out.hosts = static_cast<std::int64_t>(plan.hosts.size());
  Observer observer(out);
  const std::unique_ptr<VirtualFarm> farm = make_farm(plan, load, observer);
  farm->run_until(first_arrival_at);
  for (Ending ending; farm->problem().empty() && !ending.is_over(*farm, out);) {
    farm->run_until(farm->now() + look_every);
    if (progress) progress(since_first(farm->now()), options.span, out.ended);
  }
  for (const ExecutorLife& life : farm->living()) observer.add_living(life);
  out.window = since_first(farm->now());
  out.still_running = out.started - std::min(out.started, out.ended);
  out.events = farm->events();
  out.problem = farm->problem();
  return out;
}

}  // namespace skep::simulation::whatif
