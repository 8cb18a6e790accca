// Why an item waits, the smallest change that would help, and when it will run.
#include <algorithm>
#include <span>

#include "core/lifecycle/lifecycle.h"
#include "scheduler/core/logic_state.h"
#include "scheduler/core/node_names.h"

namespace skep::scheduler {
namespace {

std::string quoted(const std::string& text) {
  return "'" + text + "'";
}

constexpr std::size_t most_hosts_named = 3;

std::string list_of(const std::vector<std::string>& labels, bool is_short) {
  std::string text;
  for (const std::string& label : labels)
    text += (text.empty() ? "" : is_short ? ", " : " and ") + quoted(label);
  return text;
}

struct LabelChange {
  std::vector<std::string> added;
  std::vector<std::string> removed;
  std::size_t size() const { return added.size() + removed.size(); }
};

LabelSet with(LabelSet labels, const LabelChange& change) {
  for (const std::string& label : change.added) labels.insert(label);
  for (const std::string& label : change.removed) labels.erase(label);
  return labels;
}

// The smallest set of labels to add or take away so that the expression holds; tries one, two, then three at
// a time.
std::optional<LabelChange> smallest_change(const LabelExpression& expression, const LabelSet& labels) {
  std::vector<std::string> atoms = expression.atoms();
  constexpr std::size_t most_atoms = 12;  // more are not tried: the text is for people
  if (atoms.size() > most_atoms) atoms.resize(most_atoms);
  const std::size_t combinations = std::size_t{1} << atoms.size();
  std::optional<LabelChange> best;
  for (std::size_t bits = 1; bits < combinations; ++bits) {
    LabelChange change;
    for (std::size_t i = 0; i < atoms.size(); ++i) {
      if ((bits >> i & 1U) == 0) continue;
      (labels.contains(atoms[i]) ? change.removed : change.added).push_back(atoms[i]);
    }
    const bool is_smaller = !best || change.size() < best->size();
    if (!is_smaller || change.size() > 3 || !expression.matches(with(labels, change))) continue;
    best = std::move(change);
  }
  return best;
}

struct Nearest {
  std::string text;
  std::size_t size = 0;
};

std::string advice_for_label(const LabelExpression* expression,
                             const std::vector<std::shared_ptr<const Template>>& templates,
                             const ControllerId& controller) {
  if (templates.empty()) return "define a template";
  if (expression == nullptr)
    return "set takes_unlabelled of template " + quoted(templates.front()->name.text) +
           ", or give the job a label";
  std::optional<Nearest> nearest;
  for (const auto& value : templates) {
    LabelSet labels = value->labels;
    labels.insert("swarm");
    Nearest candidate;
    if (expression->matches(labels)) {
      if (serves(*value, controller)) continue;
      candidate = {"add controller " + quoted(controller.text) + " to template " + quoted(value->name.text),
                   1};
    } else {
      const auto change = smallest_change(*expression, labels);
      if (!change) continue;
      std::string text;
      if (!change->added.empty()) text = "add label " + list_of(change->added, false) + " to";
      if (!change->removed.empty())
        text += (text.empty() ? "remove label " : ", and remove label ") + list_of(change->removed, false) +
                (text.empty() ? " from" : " from,");
      candidate = {text + " template " + quoted(value->name.text), change->size()};
    }
    if (!nearest || candidate.size < nearest->size) nearest = std::move(candidate);
  }
  return nearest ? nearest->text : "define a template whose labels satisfy " + quoted(expression->name());
}

std::string times(int count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::string breaker_reason(const LogicState& s, const Template& value, const HostId& id) {
  const auto host = s.hosts.find(id);
  if (host == s.hosts.end()) return "unknown";
  const auto breaker = host->second.breakers.find(value.name);
  return breaker == host->second.breakers.end() ? "unknown" : breaker->second.reason;
}

// Boot deadlines are generous: a tenth is what a start usually takes.
Duration usual_boot(const Template& value) {
  return value.boot_deadline / 10;
}

void explain_coming(const LogicState& s, const Executor& e, Explanation& x, Instant at) {
  x.executor = e.id();
  const Duration usual = e.spec ? usual_boot(*e.spec) : Duration(seconds(6));
  if (e.offer || e.gate == Gate::opening || e.gate == Gate::open) {
    x.reason = WaitReason::gate_opening;
    x.text = "executor " + e.id().text + " is being offered to it";
    x.starts_in = Duration(milliseconds(50));
    return;
  }
  if (e.state() == ExecutorState::idle && s.can_offer(e)) {
    x.reason = WaitReason::gate_opening;
    x.text = "executor " + e.id().text + " is ready; its gate is opened as soon as fewer gates are open";
    x.starts_in = Duration(seconds(1));
    return;
  }
  if (e.state() == ExecutorState::idle) {
    x.reason = WaitReason::gate_opening;
    x.text = "executor " + e.id().text + " is offered to it again in a moment";
    if (e.offer_retry.failures > 0) {
      x.text = "executor " + e.id().text +
               " was open for it, but its controller started nothing there; it is offered again";
      x.unblock =
          "see in the controller why it refuses this node: permissions, restrictions of the node or the job";
    }
    x.starts_in = e.offer_retry.next > at ? e.offer_retry.next - at : Duration(seconds(1));
    return;
  }
  x.reason = WaitReason::executor_coming;
  x.text = "executor " + e.id().text + " is on its way on host " + e.record.host.text + " (" +
           std::string(to_string(e.state())) + ")";
  const Duration gone_by = at > e.planned_at ? at - e.planned_at : Duration::zero();
  x.starts_in = gone_by < usual ? usual - gone_by : Duration(seconds(1));
}

std::string advice_for_unresolved(const Controller& c) {
  const std::string controller = quoted(c.config.name.text);
  if (c.profile && c.profile->can_script)
    return "nothing yet: its label is asked for again at the next look at the queue of controller " +
           controller;
  if (c.config.sentinel_node.empty())
    return "set sentinel_node of controller " + controller +
           ": a controller without agents names no label; or let the account run scripts "
           "(Overall/Administer)";
  return "let the account of controller " + controller +
         " run scripts (Overall/Administer), or give the job a plain label; texts in another language than "
         "English (Locale plugin) cannot be read";
}

std::string advice_for_frozen(const LogicState& s, const Controller& c) {
  const std::string controller = quoted(c.config.name.text);
  if (!s.fenced_by.empty()) return "stop the other scheduler of this farm, then restart this one";
  if (c.profile && !c.profile->missing_permissions.empty())
    return "grant " + c.profile->missing_permissions.front() + " to the account on controller " + controller;
  if (!c.profile && c.profile_problem.empty()) return "nothing: it is being looked at for the first time";
  return "make controller " + controller + " reachable and readable; see skep status";
}

void explain_no_room(const LogicState& s, const Template& value, Explanation& x) {
  PlacementPolicy policy;
  policy.max_coming_per_host = s.config.max_coming_per_host;
  std::vector<HostView> views = s.views;
  for (HostView& view : views) {
    const auto host = s.hosts.find(view.host);
    if (host == s.hosts.end()) continue;
    const auto breaker = host->second.breakers.find(value.name);
    if (breaker == host->second.breakers.end()) continue;
    view.is_breaker_open = breaker->second.is_open;
    view.breaker_reason = breaker->second.reason;
  }
  x.reason = WaitReason::no_room;
  const PlacementDecision decision = decide_placement(value, views, policy);
  if (std::holds_alternative<Placed>(decision)) {
    x.text = "a host has just become free for template " + quoted(value.name.text);
    x.starts_in = Duration(seconds(1));
    return;
  }
  const NotPlaced& refused = std::get<NotPlaced>(decision);
  for (const auto& [filter, hosts] : refused.refusals) x.refusals[std::string(to_string(filter))] = hosts;
  if (!refused.nearest_miss) {
    x.text = "no host has announced itself, so template " + quoted(value.name.text) + " cannot run anywhere";
    x.unblock = "start skep-agentd on a host";
    return;
  }
  const NearestMiss& miss = *refused.nearest_miss;
  x.nearest_miss = miss.text;
  x.text = "no host can take one more executor of template " + quoted(value.name.text) +
           "; nearest miss: " + miss.text;
  const std::string host = miss.host.text;
  switch (miss.filter) {
    case Filter::host_unknown:
      x.unblock = "bring host " + host + " back, or start another one";
      break;
    case Filter::draining:
      x.unblock = "undrain host " + host;
      break;
    case Filter::driver:
      x.unblock = "enable driver " + quoted(value.driver) + " on host " + host;
      break;
    case Filter::image:
      x.unblock = is_rollable(value.image) ? "put image " + quoted(value.image) + " on host " + host
                                           : "skep images pull " + value.image + " --host " + host +
                                                 "; where its catalogue does not have it, add it there";
      break;
    case Filter::attributes:
      x.unblock = "add a host with these attributes, or drop them from template " + quoted(value.name.text);
      break;
    case Filter::executors_limit:
      x.unblock = "raise max_executors of host " + host + ", or wait until an executor ends there";
      break;
    case Filter::cpu:
    case Filter::memory:
    case Filter::disk:
    case Filter::countable: {
      const HostView* view = s.view_of(miss.host);
      const bool never_fits = view != nullptr && value.resources.shortage_in(view->capacity).has_value();
      const auto shortage = view == nullptr ? std::nullopt : value.resources.shortage_in(view->free);
      std::string lacks = "it is full";
      if (shortage) {
        Resources missing;
        const std::int64_t amount = shortage->wanted - std::max<std::int64_t>(0, shortage->available);
        if (shortage->what == "cpu")
          missing.cpu_millis = amount;
        else if (shortage->what == "memory")
          missing.memory_bytes = amount;
        else if (shortage->what == "disk")
          missing.disk_bytes = amount;
        else
          missing.countable[shortage->what] = amount;
        lacks = "it lacks " + to_string(missing);
      }
      x.unblock = never_fits
                      ? "make template " + quoted(value.name.text) +
                            " smaller or add a larger host: the nearest is " + host + ", " + lacks
                      : "wait until an executor ends on host " + host + " (" + lacks + "), or add a host";
      break;
    }
    case Filter::pace:
      x.unblock = "";
      x.starts_in = Duration(seconds(5));
      break;
    case Filter::breaker:
      x.unblock = "find out why executors of template " + quoted(value.name.text) + " fail on host " + host +
                  ": " + breaker_reason(s, value, miss.host);
      break;
  }
}

void explain_limit(const Template& value, const UnseenHosts& all_unseen, Explanation& x) {
  x.reason = WaitReason::template_limit;
  x.text = "template " + quoted(value.name.text) + " has its maximum of " + times(value.maximum, "executor");
  x.unblock =
      "raise maximum of template " + quoted(value.name.text) + ", or wait until one of its executors ends";
  const auto unseen = all_unseen.find(value.name);
  if (unseen == all_unseen.end()) return;
  int executors = 0;
  std::string hosts, words;
  std::size_t named = 0;
  for (const auto& [host, count] : unseen->second) {
    executors += count;
    if (++named > most_hosts_named) continue;
    hosts += (hosts.empty() ? "" : ", ") + host.text;
    words += " " + host.text;
  }
  if (named > most_hosts_named) hosts += " and " + std::to_string(named - most_hosts_named) + " more";
  const bool is_one = named == 1;
  x.text += "; " + std::to_string(executors) + " of them " + (executors == 1 ? "is" : "are") + " on " +
            (is_one ? "host " : "hosts ") + hosts + (is_one ? ", which does" : ", which do") + " not answer";
  x.unblock = std::string(is_one ? "bring it back, or if it is gone for good, say so: "
                                 : "bring them back, or if they are gone for good, say so: ") +
              "skep forget" + words + "; otherwise " + x.unblock;
}

/// The executor that the last pass meant for the item; nullptr: none.
const Executor* covering(const Controller& c, std::int64_t item) {
  const auto found = std::lower_bound(c.cover.begin(), c.cover.end(), item,
                                      [](const Cover& cover, std::int64_t id) { return cover.item < id; });
  return found != c.cover.end() && found->item == item ? found->by : nullptr;
}

}  // namespace

// Of several templates the one that is nearest to a launch.
Blocked LogicState::why_blocked(const Controller& c, const DemandClass& demand_class) const {
  const auto weight = [](WaitReason reason) {
    return reason == WaitReason::executor_coming ? 3
           : reason == WaitReason::no_room       ? 2
           : reason == WaitReason::backoff       ? 1
                                                 : 0;
  };
  const std::size_t first = demand_class.templates.front();
  if (is_paused) return Blocked{WaitReason::paused, first, {}, {}};
  std::optional<Blocked> best;
  for (const std::size_t index : demand_class.templates) {
    if (index >= c.blocked.size() || !c.blocked[index]) continue;
    if (!best || weight(c.blocked[index]->reason) > weight(best->reason)) best = c.blocked[index];
  }
  return best.value_or(Blocked{WaitReason::executor_coming, first, {}, {}});
}

UnseenHosts LogicState::find_unseen() const {
  UnseenHosts unseen;
  for (const auto& [id, place] : places) {
    if (place.host != nullptr && place.host->is_known) continue;
    for (const auto& [name, e] : place.executors) {
      if (!e->is_gone_on_host && counts_for_maximum(*e)) ++unseen[e->record.template_name][id];
    }
  }
  return unseen;
}

Explanation LogicState::explain_item(const Controller& c, const DemandBook::Entry& entry,
                                     const Moment& moment) const {
  const Instant at = moment.at;
  const WallTime wall_at = moment.wall;
  const QueueItem& item = entry.item;
  Explanation x;
  x.controller = c.config.name;
  x.item = item.id;
  x.name = item.name;
  x.waiting_ms = std::max<std::int64_t>(0, wall_at.ms_since_epoch - item.in_queue_since.ms_since_epoch);
  const DemandClass* demand_class = entry.demand_class;
  if (demand_class != nullptr) {
    x.label = demand_class->name;
    for (const std::size_t index : demand_class->templates)
      x.matching_templates.push_back(templates[index]->name.text);
    for (const std::size_t index : demand_class->templates) {
      if (x.image.empty()) x.image = image_note(*templates[index]);
    }
  }
  const auto answer = [&x](WaitReason reason, std::string text, std::string unblock = {}) {
    x.reason = reason;
    x.text = std::move(text);
    x.unblock = std::move(unblock);
    return x;
  };
  if (item.is_stopping)
    return answer(WaitReason::stopping, "it is being cancelled, or its controller is about to shut down");
  if (c.demand.is_quieting_down())
    return answer(WaitReason::stopping, "its controller is quieting down and starts nothing",
                  "cancel the quiet-down of controller " + quoted(c.config.name.text));
  if (item.stage == ItemStage::blocked)
    return answer(WaitReason::blocked, "its controller holds it back: " + item.why,
                  "wait until that ends, or end it in the controller; no executor is missing");

  if (demand_class != nullptr && demand_class->expression && demand_class->expression->is_atom()) {
    const std::string& name = demand_class->name;
    const Executor* e = find(ExecutorId(name));
    const bool is_alive = e != nullptr && (e->state() == ExecutorState::busy || e->is_resuming);
    if (is_alive) {
      x.executor = e->id();
      x.starts_in = Duration(seconds(5));
      return answer(WaitReason::resume,
                    "its build is resumed on its own executor " + name + ", whose node is created again");
    }
    if (e != nullptr || parse_node_name(config.farm, name)) {
      return answer(
          WaitReason::resume_lost,
          "it can only run on executor " + name + ", which is gone for good; no other one can take its place",
          "abort the build and start it again");
    }
  }
  if (item.stage == ItemStage::waiting && item.quiet_until && entry.kind != DemandBook::Kind::unresolved) {
    const std::int64_t left =
        std::max<std::int64_t>(0, item.quiet_until->ms_since_epoch - wall_at.ms_since_epoch);
    if (const Executor* covered = covering(c, item.id)) x.executor = covered->id();
    x.starts_in = milliseconds(left);
    return answer(WaitReason::quiet_period,
                  "it is in its quiet period for " + duration_to_text(milliseconds(left)));
  }
  if (entry.demand_class == nullptr) {
    return answer(
        WaitReason::label_unresolved,
        "its label could not be learned from its controller, and it is not guessed; Jenkins says: " +
            item.why,
        advice_for_unresolved(c));
  }
  if (c.elsewhere.contains(item.id))
    return answer(WaitReason::served_elsewhere, "an idle node that is not ours can take it");
  if (demand_class->templates.empty()) {
    const LabelExpression* expression = demand_class->expression ? &*demand_class->expression : nullptr;
    if (demand_class->like)
      return answer(WaitReason::no_template,
                    "template " + quoted(demand_class->like->text) +
                        ", whose executor satisfied it, is gone from the configuration",
                    "define a template with the labels that this one had");
    const std::string what = expression == nullptr
                                 ? "no template takes items without a label"
                                 : "no template's labels satisfy " + quoted(demand_class->name);
    return answer(WaitReason::no_template, what, advice_for_label(expression, templates, c.config.name));
  }
  const std::string frozen = freeze_reason(c);
  if (const Executor* covered = covering(c, item.id)) {
    explain_coming(*this, *covered, x, at);
    return x;
  }
  if (!frozen.empty())
    return answer(WaitReason::frozen, "nothing is decided for its controller: " + frozen,
                  advice_for_frozen(*this, c));
  if (item.stage == ItemStage::pending) {
    x.starts_in = Duration(seconds(1));
    return answer(WaitReason::gate_opening, "its controller has chosen an executor and starts it");
  }
  const Blocked blocked = why_blocked(c, *demand_class);
  const Template& value = *templates[std::min(blocked.template_index, templates.size() - 1)];
  if (blocked.retry_at && *blocked.retry_at > at) x.starts_in = *blocked.retry_at - at;
  switch (blocked.reason) {
    case WaitReason::paused:
      return answer(WaitReason::paused,
                    "launching is paused" + (pause_reason.empty() ? std::string() : ": " + pause_reason),
                    "resume launching: skep resume");
    case WaitReason::template_limit:
      explain_limit(value, moment.unseen, x);
      return x;
    case WaitReason::backoff: {
      const auto retry = c.launch_retries.find(value.name);
      const int failures = retry == c.launch_retries.end() ? 1 : retry->second.failures;
      const std::string when =
          x.starts_in ? "the next try is in " + duration_to_text(*x.starts_in) : "one trial is under way";
      return answer(
          WaitReason::backoff,
          std::to_string(failures) + (failures == 1 ? " launch" : " launches") + " of template " +
              quoted(value.name.text) + " failed in a row; " + when,
          "find out why executors of template " + quoted(value.name.text) + " fail: skep executors --all");
    }
    case WaitReason::no_room:
      explain_no_room(*this, with_image(value), x);
      return x;
    default:
      if (!x.starts_in) x.starts_in = usual_boot(value);
      return answer(WaitReason::executor_coming,
                    "an executor of template " + quoted(value.name.text) + " is ordered next; at most " +
                        std::to_string(config.max_creations_per_second) + " a second are");
  }
}

}  // namespace skep::scheduler
