// The script console. It cannot run Groovy: it recognises what Skep posts (hook, companion, label list) by
// what the script says and does what the real one did (recordings 11, 12, 16, 23).
#include <algorithm>

#include "simulation/controller/state.h"

namespace skep::controller_sim {

using State = ControllerModel::State;

namespace {

constexpr const char* script_type = "text/plain;charset=utf-8";

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

/// The text between `before` and the next `after`, or empty.
std::string between(const std::string& text, std::string_view before, std::string_view after,
                    std::size_t from = 0) {
  const std::size_t start = text.find(before, from);
  if (start == std::string::npos) return {};
  const std::size_t end = text.find(after, start + before.size());
  return end == std::string::npos ? std::string()
                                  : text.substr(start + before.size(), end - start - before.size());
}

/// The name of the class that has `kind` after its name: "class X implements ExecutorListener".
std::string class_with(const std::string& script, std::string_view kind) {
  const std::size_t at = script.find(kind);
  if (at == std::string::npos) return {};
  const std::size_t keyword = script.rfind("class ", at);
  return keyword == std::string::npos ? std::string() : between(script, "class ", " ", keyword);
}

/// What `println 'text'` prints, the last one of the script.
std::string last_println(const std::string& script) {
  const std::size_t at = script.rfind("println");
  if (at == std::string::npos) return {};
  const std::size_t quote = script.find_first_of("'\"", at);
  if (quote == std::string::npos) return {};
  return between(script, script.substr(quote, 1), script.substr(quote, 1), quote);
}

std::uint64_t to_number(const std::string& text) {
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c >= '0' && c <= '9') value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

}  // namespace

std::string marker_label(const std::string& script) {
  const std::string label = between(script, "it.name == '", "'");
  return label.empty() ? between(script, "it.name == \"", "\"") : label;
}

void State::report(const std::string& text) {
  if (!companion) return;
  companion->ring.push_back(std::to_string(companion->next++) + " " + text);
  if (companion->ring.size() > companion_ring_size) companion->ring.pop_front();
  std::vector<std::uint64_t> woken;
  for (const ParkedReply& waiter : parked) {
    if (companion->next > waiter.from && waiter.last_words.empty()) woken.push_back(waiter.id);
  }
  for (const std::uint64_t id : woken) end_of_wait(id);
}

void State::report_item(std::string_view kind, const Item& item) {
  if (companion) report(std::string(kind) + " " + std::to_string(item.id) + " " + shown_label(item));
}

void State::end_of_wait(std::uint64_t parked_id) {
  const auto found = std::find_if(parked.begin(), parked.end(),
                                  [&](const ParkedReply& each) { return each.id == parked_id; });
  if (found == parked.end()) return;
  const ParkedReply waiter = *found;
  parked.erase(found);
  HttpReply reply = plain(200, script_type, waiter.last_words);
  if (reply.body.empty())
    reply.body = companion ? companion_events(waiter.from, waiter.is_own) : "skep-companion absent\n";
  if (waiter.fault) alter(reply, *waiter.fault);
  finished_replies.emplace_back(parked_id, std::move(reply));
}

/// hub.since(FROM, MILLIS): answers at once when there is something, else when there is, at the latest after
/// MILLIS.
HttpReply State::wait_for_events(const std::string& script) {
  const std::string call = between(script, ".since(", ")");
  const std::size_t comma = call.find(',');
  if (!companion || comma == std::string::npos) {
    const std::string absent = between(script, "== null) { println '", "'");
    return plain(200, script_type, (absent.empty() ? "skep-companion absent" : absent) + "\n");
  }
  ParkedReply waiter;
  waiter.id = next_parked++;
  waiter.from = to_number(call.substr(0, comma));
  waiter.until = clock + milliseconds(static_cast<std::int64_t>(to_number(call.substr(comma + 1))));
  parked.push_back(waiter);
  if (companion->next > waiter.from) {
    end_of_wait(waiter.id);
    HttpReply reply = std::move(finished_replies.back().second);
    finished_replies.pop_back();
    return reply;
  }
  at(waiter.until, {EventKind::end_of_wait, waiter.id});
  HttpReply reply;
  reply.parked = waiter.id;
  return reply;
}

std::string State::install_hook(const std::string& script) {
  const std::string name = class_with(script, "implements ExecutorListener");
  const bool there =
      std::any_of(hooks.begin(), hooks.end(), [&](const Hook& each) { return each.class_name == name; });
  if (!there) hooks.push_back({name, marker_label(script), false});
  return last_println(script) + "\n";
}

std::string State::install_companion(const std::string& script) {
  const std::string name = class_with(script, "extends QueueListener");
  if (!companion || companion->class_name != name) {
    Companion fresh;
    fresh.class_name = name;
    fresh.greeting = between(script, "println \"", " ${",
                             script.rfind("hub.boot") == std::string::npos
                                 ? 0
                                 : script.rfind("println \"", script.rfind("hub.boot")));
    fresh.boot = fresh_boot(name);
    companion = std::move(fresh);
    hooks.push_back({class_with(script, "implements ExecutorListener"), marker_label(script), true});
  }
  return companion->greeting + " " + companion->boot + " " + std::to_string(companion->next) + "\n" +
         companion_items();
}

/// queue.items.each { println it.id + ' ' + label [+ ' ' + it.why] }
std::string State::list_labels(const std::string& script) {
  std::string out;
  if (contains(script, "JsonOutput.toJson")) {
    // println 'MARKER', one line "ID JSON" an item, println 'END': JSON texts escape quotes and backslashes.
    out = between(script, "println '", "'") + "\n";
    for (const std::int64_t id : visible_items()) {
      const Item& item = items.at(id);
      std::string text = any_node_item(item) ? "null" : "\"";
      for (const char c : any_node_item(item) ? std::string() : label(item.label).expression.expression()) {
        if (c == '"' || c == '\\') text += '\\';
        text += c;
      }
      out += std::to_string(id) + " " + text + (any_node_item(item) ? "" : "\"") + "\n";
    }
    return out + last_println(script) + "\n";
  }
  for (const std::int64_t id : visible_items()) {
    const Item& item = items.at(id);
    out += std::to_string(id) + " " + (any_node_item(item) ? "" : label(item.label).expression.expression());
    if (contains(script, "it.why")) out += " " + why(item);
    out += "\n";
  }
  const std::size_t last = script.find_last_not_of(" \t\r\n");
  const bool ends_in_null =
      last != std::string::npos && last >= 3 && script.compare(last - 3, 4, "null") == 0;
  if (!ends_in_null) out += "Result: [Lhudson.model.Queue$Item;@60f37313\n";
  return out;
}

HttpReply State::script_text(const ParsedRequest& request) {
  const std::string script = field_or(request.parameters, "script", "");
  if (const std::string verb = own_script_verb(script); !verb.empty()) return run_own_script(verb, script);
  std::string out;
  if (contains(script, "extends QueueListener")) {
    out = install_companion(script);
  } else if (contains(script, ".hub.since(")) {
    return wait_for_events(script);
  } else if (contains(script, "all.remove(it)")) {
    companion.reset();
    const std::vector<ParkedReply> waiting_now = parked;
    for (const ParkedReply& waiter : waiting_now) end_of_wait(waiter.id);
    hooks.erase(std::remove_if(hooks.begin(), hooks.end(),
                               [&](const Hook& hook) { return contains(script, hook.class_name); }),
                hooks.end());
    out = last_println(script) + "\n";
  } else if (contains(script, "implements ExecutorListener")) {
    out = install_hook(script);
  } else if (contains(script, "queue.items.each") && contains(script, "assignedLabel")) {
    out = list_labels(script);
  } else if (contains(script, "throw new")) {
    const std::string type = between(script, "throw new ", "(");
    const std::string before = between(script, "println '", "'");
    if (!before.empty()) out = before + "\n";
    out +=
        "java.lang." + type + ": " + between(script, type + "('", "'") +
        "\n\tat java.base/jdk.internal.reflect.NativeConstructorAccessorImpl.newInstance0(Native Method)\n";
  } else if (std::count(script.begin(), script.end(), '(') != std::count(script.begin(), script.end(), ')')) {
    out =
        "org.codehaus.groovy.control.MultipleCompilationErrorsException: startup failed:\nScript1.groovy: 1: "
        "unexpected token:  @ line 1, column " +
        std::to_string(script.size() + 1) + ".\n   " + script +
        "\n            ^\n\n1 error\n\n\tat "
        "org.codehaus.groovy.control.ErrorCollector.failIfErrors(ErrorCollector.java:309)\n";
  } else {
    if (contains(script, "scheduleMaintenance()")) schedule_maintenance();
    if (contains(script, "println")) {
      const std::string text = last_println(script);
      out = (text.empty() ? script.substr(script.rfind("println") + 8) : text) + "\n";
    }
  }
  return plain(200, script_type, out);
}

}  // namespace skep::controller_sim
