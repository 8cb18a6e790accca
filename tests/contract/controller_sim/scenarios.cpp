#include "tests/contract/controller_sim/scenarios.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "simulation/controller/text.h"

namespace skep::controller_sim {
namespace {

using recordings::Exchange;
using recordings::Recording;

void nothing(Stage&, const Moment&) {}

void all_agents_ended(Stage& stage, const Moment&) {
  stage.until("every agent has ended", [&] { return stage.agent_count() == 0; });
}

/// Connected just now: what it does next begins at the recorded time.
void connect_next(Stage& stage, const Moment& moment) {
  stage.connect(moment.node());
  stage.set_clock(moment.exchange.at_ms);
}

/// Recorded: 10 to 50 ms after a kick, else when the queue looks by itself, which it does every 5 s.
Duration patience(const Moment& moment) {
  return moment.exchange.event.find("(kick:") != std::string::npos ? milliseconds(50) : seconds(5);
}

/// `node` has been assigned a build that does not exist yet (t0..t1). It is the recorded time now, whatever
/// the queue's tick did.
void next_is_assigned(Stage& stage, const Moment& moment) {
  stage.until(
      "assigned", [&] { return stage.is_assigned(moment.node()); }, patience(moment));
  stage.set_clock(moment.exchange.at_ms);
}

void next_is_running(Stage& stage, const Moment& moment) {
  stage.until(
      "running", [&] { return stage.is_assigned(moment.node()) && stage.is_running(moment.node()); },
      patience(moment));
  stage.set_clock(moment.exchange.at_ms);
}

/// Freestyle jobs of scenarios 03 to 05 and 11.
void jobs_of_03(Stage& stage, Duration duration) {
  stage.job("linux", "linux", duration);
  stage.job("and", "linux && x86", duration);
  stage.job("parentheses", "linux && (x86||arm)", duration);
  stage.job("not", "!windows", duration);
  stage.job("implies", "a -> b", duration);
  stage.job("iff", "a<->b", duration);
  stage.job("quoted-and", "\"a b\" && linux", duration);
  stage.job("quoted", "\"a b\"", duration);
  stage.job("unparsable", "linux && && x", duration);
  stage.job("any", "", duration);
  stage.job("apostrophe", "it’s", duration);
  stage.job("double-not", "!!a", duration);
  stage.job("or", "windows||linux", duration);
  JobSpec quiet;
  quiet.path = "quiet";
  quiet.label = "linux";
  quiet.concurrent = true;
  quiet.quiet_period = seconds(60);
  stage.job(quiet);
}

void pipeline(Stage& stage, const std::string& path, std::vector<NodeBlock> blocks,
              bool is_parallel = false) {
  JobSpec spec;
  spec.path = path;
  spec.kind = JobKind::pipeline;
  spec.blocks = std::move(blocks);
  spec.parallel = is_parallel;
  stage.job(spec);
}

void press_all(Stage& stage, std::initializer_list<const char*> jobs) {
  for (const char* job : jobs) stage.press(job);
}

Scenario authentication(const Recording&) {
  Scenario out;
  out.acts = {{"token together with the cookie of a logged-in session",
               [](Stage& stage, const Moment&) { stage.log_in("admin", "admin-password"); }}};
  return out;
}

Scenario why_texts(const Recording&) {
  Scenario out;
  out.given = [](Stage& stage) {
    jobs_of_03(stage, seconds(4));
    press_all(stage, {"linux", "and", "parentheses", "not", "implies", "iff", "quoted-and", "quoted",
                      "unparsable", "any", "apostrophe", "double-not", "or", "quiet"});
  };
  out.acts = {{"no agents at all", nothing}};
  return out;
}

Scenario busy_and_reserved(const Recording&) {
  Scenario out;
  out.given = [](Stage& stage) {
    jobs_of_03(stage, seconds(4));
    stage.sentinel();
  };
  out.acts = {
      {"n1 connected",
       [](Stage& stage, const Moment&) {
         press_all(stage, {"linux", "and", "any", "not"});
         stage.connect("n1");
         stage.until("n1 is busy", [&] { return stage.is_running("n1"); });
       }},
      {"n2 connected",
       [](Stage& stage, const Moment&) {
         stage.connect("n2");
         stage.until("n2 is busy", [&] { return stage.is_running("n2"); });
         stage.press("linux");
       }},
      {"builds over", nothing},
      {"n2 set offline by toggling",
       [](Stage& stage, const Moment&) {
         stage.press("or");
         stage.until("n2 is busy", [&] { return stage.is_running("n2"); });
       }},
      {"both set offline", [](Stage& stage, const Moment&) { stage.press("linux"); }},
  };
  return out;
}

Scenario item_life(const Recording& recording) {
  Scenario out;
  out.given = [](Stage& stage) {
    jobs_of_03(stage, seconds(4));
    stage.sentinel();
    JobSpec serial;
    serial.path = "serial";
    serial.label = "linux";
    serial.duration = seconds(6);
    stage.job(serial);
  };
  out.acts = {{"schedule serial", [](Stage& stage, const Moment&) { stage.connect("n1"); }},
              {"root", [](Stage& stage, const Moment&) { stage.press("linux"); }}};
  if (recording.core == "2.528.3") {
    // There it was seen between assignment and start.
    out.acts.push_back({"its item at once", [](Stage& stage, const Moment& moment) {
                          stage.until("assigned", [&] { return stage.is_assigned("n1"); });
                          stage.set_clock(moment.exchange.at_ms);
                        }});
  }
  return out;
}

Scenario create_slave(const Recording& recording) {
  Scenario out;
  out.given = [core = recording.core](Stage& stage) {
    stage.sentinel();
    if (core == "2.479.3") return;
    // Left by an earlier run on that controller: without a computer nobody saw them.
    for (const char* name : {"e0", "ex"}) {
      stage.order("/plugin/swarm/createSlave",
                  std::string("name=") + name +
                      "&executors=0&remoteFsRoot=%2Fhome%2Fagent&labels=linux&mode=EXCLUSIVE");
    }
  };
  out.acts = {{"agent c2-cafe connected", [](Stage& stage, const Moment&) { stage.connect("c2-cafe"); }}};
  return out;
}

Scenario labels_and_cache(const Recording&) {
  Scenario out;
  out.given = [](Stage& stage) {
    stage.sentinel();
    stage.job("zlab", "zlab");
    stage.press("zlab");
  };
  out.acts = {{"labels", [](Stage& stage, const Moment&) { stage.connect("m1"); }}};
  out.asks_for_first_item = true;
  return out;
}

Scenario offline_gate(const Recording& recording) {
  Scenario out;
  out.given = [](Stage& stage) {
    stage.sentinel();
    stage.job("one", "g1");
    for (int i = 0; i < 4; ++i) stage.schedule("one");
  };
  const bool saw_no_build_yet = recording.core == "2.479.3";
  out.acts = {{"agent process connected", connect_next},
              {"agent process ended with exit status 0", all_agents_ended},
              {"no longer idle*", [=](Stage& stage, const Moment& moment) {
                 const bool is_last_kick = moment.exchange.event.find("cancelQuietDown") != std::string::npos;
                 saw_no_build_yet&& is_last_kick ? next_is_assigned(stage, moment)
                                                 : next_is_running(stage, moment);
               }}};
  return out;
}

Scenario deleted_killed_disconnected(const Recording&) {
  Scenario out;
  out.given = [](Stage& stage) {
    stage.sentinel();
    stage.job("long", "m", seconds(60));
  };
  const auto run_long = [](Stage& stage, const std::string& node) {
    stage.press("long");
    stage.connect(node);
    stage.until("running", [&] { return stage.is_running(node); });
  };
  out.acts = {{"running", [=](Stage& stage, const Moment&) { run_long(stage, "m2"); }},
              {"agent process ended with exit status 0", all_agents_ended},
              {"agent process killed (SIGKILL) in mid-build",
               [=](Stage& stage, const Moment&) {
                 run_long(stage, "m3");
                 stage.kill_agent("m3");
               }},
              {"disconnect", [](Stage& stage, const Moment&) { stage.connect("m4"); }},
              {"agent process killed", [](Stage& stage, const Moment&) {
                 stage.connect("m8");
                 stage.kill_agent("m8");
               }}};
  return out;
}

Scenario only_a_sentinel(const Recording&) {
  Scenario out;
  out.given = [](Stage& stage) { stage.sentinel(); };
  return out;
}

Scenario script_console(const Recording&) {
  Scenario out;
  out.given = [](Stage& stage) {
    stage.sentinel();
    jobs_of_03(stage, seconds(4));
    press_all(stage, {"linux", "and", "unparsable", "any"});
  };
  return out;
}

Scenario one_shot_hook(const Recording& recording) {
  Scenario out;
  const std::string folder = recording.file.substr(0, recording.file.find('/'));
  out.given = [folder](Stage& stage) {
    stage.sentinel();
    stage.job("one", "g1");
    const Exchange& install = recordings::of(folder + "/11-script-console.json").step("install the hook");
    stage.order(install.target, install.body);
    for (int i = 0; i < 4; ++i) stage.schedule("one");
  };
  out.acts = {{"connected", connect_next},
              {"agent process ended by itself with exit status 0", all_agents_ended}};
  return out;
}

/// Refused from now until the first recorded 503, then 503 until the first 200.
void restart_as_recorded(Stage& stage, const Moment& moment) {
  const auto next_with = [&](int status) {
    for (const Exchange& exchange : moment.recording.exchanges) {
      if (exchange.index > moment.exchange.index && exchange.answer.status == status) return exchange.at_ms;
    }
    FAIL("no answer with " << status);
    return std::int64_t{};
  };
  const std::int64_t starting = next_with(503), up = next_with(200);
  stage.model().restart(true, stage.now(), milliseconds(starting - moment.exchange.at_ms),
                        milliseconds(up - starting - 1));
  CHECK_FALSE(stage.model().listening());
}

Scenario controller_restart(const Recording&) {
  Scenario out;
  out.given = [](Stage& stage) {
    stage.sentinel();
    stage.job("long", "m", seconds(60));
    stage.job("w1", "nolab1");
    JobSpec waiting;
    waiting.path = "w2";
    waiting.label = "nolab2";
    waiting.concurrent = true;
    waiting.quiet_period = seconds(300);
    stage.job(waiting);
    press_all(stage, {"w1", "w2"});
  };
  out.acts = {{"create kept",
               [](Stage& stage, const Moment&) {
                 stage.press("long");
                 stage.connect("r1");
               }},
              {"queue before", [](Stage& stage, const Moment&) { stage.connect("kept"); }},
              // It goes on answering for some milliseconds; the restart begins when it refuses.
              {"SIGTERM to the controller", nothing},
              {"connection: ConnectionRefusedError", restart_as_recorded},
              {"agent r1 (-noReconnect) exit status: 0*", all_agents_ended}};
  return out;
}

/// "skep has: Overall/Read, Job/Read (...)": the account gets these, and two fresh items wait.
void grant(Stage& stage, const Moment& moment) {
  std::string list = moment.exchange.event.substr(std::string("skep has: ").size());
  list = list.substr(0, list.find(" ("));
  std::set<std::string, std::less<>> permissions;
  for (const std::string& part : split(list, ',')) permissions.insert(split_blanks(part).at(0));
  stage.model().set_permissions("skep", permissions);
  stage.renew_items({"never", "linux"});
}

/// Where the account may not create p1, an administrator does.
void create_for_it(Stage& stage, const Moment& moment) {
  std::string granted;
  for (const Exchange& each : moment.recording.exchanges) {
    if (each.is_event() && each.index < moment.exchange.index) granted = each.event;
  }
  if (granted.find("(without Agent/Create)") != std::string::npos) stage.create_node("p1", "other");
}

/// An administrator makes sure that there is a closed gate to open.
void close_for_it(Stage& stage, const Moment&) {
  const auto nodes = stage.model().node_names();
  if (std::find(nodes.begin(), nodes.end(), "p1") == nodes.end()) return;
  stage.order("/computer/p1/changeOfflineCause", "offlineMessage=g");
}

Scenario permissions(const Recording&) {
  Scenario out;
  out.given = [](Stage& stage) {
    stage.sentinel();
    stage.job("never", "zz");
    stage.job("linux", "linux");
  };
  out.acts = {{"skep has: *", grant}, {"create", create_for_it}, {"open the gate", close_for_it}};
  return out;
}

Scenario companion(const Recording&) {
  Scenario out;
  out.given = [](Stage& stage) {
    stage.sentinel();
    stage.job("one", "c1 && linux");
    stage.schedule("one");
    stage.pass(seconds(1));
    stage.set_clock(0);
  };
  out.acts = {{"agent joined, took one build*", [](Stage& stage, const Moment& moment) {
                 stage.connect("cx1");
                 all_agents_ended(stage, moment);
               }}};
  out.meanwhile = {{"wait; 0.5 s later somebody schedules a build", [](Stage& stage, const Moment&) {
                      stage.pass(milliseconds(500));
                      stage.schedule("one");
                    }}};
  return out;
}

Scenario node_blocks(const Recording&) {
  Scenario out;
  out.given = [](Stage& stage) {
    pipeline(stage, "p-linux", {{"linux", "", seconds(4)}});
    pipeline(stage, "p-expr", {{"gpu||(linux && !docker)", "", milliseconds(300)}});
    pipeline(stage, "p-any", {{"", "", milliseconds(300)}});
    pipeline(stage, "p-par", {{"linux", "", seconds(1)}, {"linux", "", seconds(1)}}, true);
  };
  out.acts = {{"with the sentinel",
               [](Stage& stage, const Moment&) {
                 press_all(stage, {"p-any", "p-expr", "p-par"});
               }},
              {"connected", [](Stage& stage, const Moment&) {
                 stage.connect("n1");
                 stage.until("n1 is busy", [&] { return stage.is_running("n1"); });
               }}};
  return out;
}

Scenario pipeline_over_a_restart(const Recording&) {
  Scenario out;
  out.given = [](Stage& stage) {
    stage.sentinel();
    pipeline(stage, "p", {{"g3", "", seconds(40)}});
  };
  out.acts = {{"running",
               [](Stage& stage, const Moment&) {
                 stage.press("p");
                 stage.connect("s1");
               }},
              {"restart of the controller",
               [](Stage& stage, const Moment& moment) {
                 const std::int64_t back_ms = moment.recording.exchanges.at(moment.exchange.index + 1).at_ms;
                 const Duration all = milliseconds(back_ms - moment.exchange.at_ms - 1);
                 stage.model().restart(true, stage.now(), all / 2, all - all / 2);
               }},
              {"controller is back; agent process ended with exit status 0", all_agents_ended},
              {"agent connected again", [](Stage& stage, const Moment&) { stage.connect("s1"); }},
              {"resumed 1.1 s after createSlave", [](Stage& stage, const Moment&) {
                 stage.until("the block goes on", [&] { return stage.is_assigned("s1"); });
               }}};
  return out;
}

Scenario folders(const Recording&) {
  Scenario out;
  out.given = [](Stage& stage) {
    stage.sentinel();
    stage.job("Team A/build it", "linux");
    pipeline(stage, "Team A/p", {{"linux", "", seconds(1)}});
  };
  out.acts = {{"queue", [](Stage& stage, const Moment&) { stage.press("Team A/p"); }}};
  return out;
}

Scenario companion_with_blocks(const Recording&) {
  Scenario out;
  out.given = [](Stage& stage) {
    stage.sentinel();
    NodeBlock echo{"g1", "", milliseconds(100)}, shell{"g1 && big", "", seconds(1)};
    pipeline(stage, "p", {echo, shell}, true);
  };
  const auto takes_one = [](const std::string& node) {
    return [node](Stage& stage, const Moment& moment) {
      stage.connect(node);
      all_agents_ended(stage, moment);
    };
  };
  out.acts = {{"cp0 ended by itself with exit status 0", takes_one("cp0")},
              {"cp1 ended by itself with exit status 0", takes_one("cp1")}};
  return out;
}

}  // namespace

const Exchange* Moment::next_request() const {
  for (const Exchange& each : recording.exchanges) {
    if (each.index >= exchange.index && !each.is_event()) return &each;
  }
  return nullptr;
}

std::string Moment::node() const {
  const Exchange* request = next_request();
  INFO("the step after " << exchange.event << " names a node");
  REQUIRE(request != nullptr);
  REQUIRE(request->target.rfind("/computer/", 0) == 0);
  return split(request->target, '/').at(2);
}

bool Act::fits(const Exchange& exchange) const {
  const std::string& text = exchange.is_event() ? exchange.event : exchange.step;
  if (before.back() == '*') return text.rfind(before.substr(0, before.size() - 1), 0) == 0;
  return text == before;
}

Scenario scenario_of(const Recording& recording) {
  using Make = Scenario (*)(const Recording&);
  static const std::map<std::string, Make> tables{
      {"01-authentication", authentication},
      {"02-tree-and-errors", [](const Recording&) { return Scenario(); }},
      {"03-why-texts", why_texts},
      {"04-why-busy-and-reserved", busy_and_reserved},
      {"05-item-life", item_life},
      {"06-create-slave", create_slave},
      {"07-labels-endpoints-and-cache", labels_and_cache},
      {"08-offline-gate", offline_gate},
      {"09-deleted-killed-disconnected", deleted_killed_disconnected},
      {"10-node-config", only_a_sentinel},
      {"11-script-console", script_console},
      {"12-one-shot-hook", one_shot_hook},
      {"13-controller-restart", controller_restart},
      {"14-permissions", permissions},
      {"15-stock-swarm-client", [](const Recording&) { return Scenario(); }},
      {"16-companion", companion},
      {"20-pipeline-node-blocks", node_blocks},
      {"21-pipeline-over-a-restart", pipeline_over_a_restart},
      {"22-folders", folders},
      {"23-companion-with-node-blocks", companion_with_blocks},
  };
  const auto found = tables.find(recording.scenario);
  INFO("a recording without a table: " << recording.file);
  REQUIRE(found != tables.end());
  return found->second(recording);
}

}  // namespace skep::controller_sim
