// The scripts that are posted to a controller's script console (Overall/Administer). A script that throws or
// does not compile is answered with 200 and a stack trace: each prints a marker, and only the marker says
// that it ran.
#pragma once

#include <string_view>

namespace skep::scheduler {

inline constexpr std::string_view hook_marker = "skep-one-build-1 ok";
inline constexpr std::string_view script_marker = "skep-script-1 ok";
inline constexpr std::string_view kick_marker = "skep-kick-1 ok";
inline constexpr std::string_view label_listing_marker = "skep-labels-1";
inline constexpr std::string_view label_listing_end = "skep-labels-end";

/// Makes the controller itself keep one build per executor: an ExecutorListener that closes a node with our
/// marker label (one_build_marker_label) at the instant it accepts a build, and removes it when the build is
/// over, unless a pipeline block goes on after a restart. Posting it twice registers it once. Lost when the
/// controller restarts.
inline constexpr const char* one_build_hook_script = R"GROOVY(// skep-one-build 1
import hudson.ExtensionList
import hudson.model.*
import hudson.slaves.SlaveComputer
import jenkins.model.Jenkins
class SkepOneBuildV1 implements ExecutorListener {
  boolean isOurs(Executor e) {
    !(e instanceof OneOffExecutor) && e.owner instanceof SlaveComputer && e.owner.node?.assignedLabels?.any { it.name == 'skep-one-build' }
  }
  void taskAccepted(Executor e, Queue.Task t) { if (isOurs(e)) e.owner.setAcceptingTasks(false) }
  void taskStarted(Executor e, Queue.Task t) { }
  void taskCompleted(Executor e, Queue.Task t, long ms) { leave(e) }
  void taskCompletedWithProblems(Executor e, Queue.Task t, long ms, Throwable problem) { leave(e) }
  void leave(Executor e) {
    if (!isOurs(e)) return
    def build = e.currentExecutable
    if (build != null && build.metaClass.respondsTo(build, 'willContinue') && build.willContinue()) return
    def node = e.owner.node
    if (node != null) Computer.threadPoolForRemoting.submit({ Jenkins.get().removeNode(node) } as Runnable)
  }
}
def all = ExtensionList.lookup(ExecutorListener)
if (!all.any { it.class.name == 'SkepOneBuildV1' }) all.add(new SkepOneBuildV1())
println 'skep-one-build-1 ok'
)GROOVY";

/// One line per item of the queue: its id and its label as JSON text, or null.
inline constexpr const char* label_listing_script = R"GROOVY(// skep-labels 1
println 'skep-labels-1'
jenkins.model.Jenkins.get().queue.items.each { println it.id + ' ' + groovy.json.JsonOutput.toJson(it.assignedLabel?.expression) }
println 'skep-labels-end'
)GROOVY";

/// Makes the queue look at once; unlike cancelQuietDown it never ends a quiet-down that somebody wants.
inline constexpr const char* kick_script = R"GROOVY(// skep-kick 1
jenkins.model.Jenkins.get().queue.scheduleMaintenance()
println 'skep-kick-1 ok'
)GROOVY";

/// Changes nothing: finds out whether the account may run scripts.
inline constexpr const char* probe_script = R"GROOVY(// skep-script 1
println 'skep-script-1 ok'
)GROOVY";

}  // namespace skep::scheduler
