"""The planted bugs: what each one breaks, how an observer outside the logic sees it, and the change that makes it.

`seen` speaks of the true state of controllers and hosts, of the actions that a logic asks for, and of the audit. Where
two mechanisms keep one promise, a bug breaks both, or nobody could see it. `find` fits its file exactly once; it is
short, so that a refactoring seldom breaks it; plant.py says when one did.
"""
from typing import NamedTuple


class Edit(NamedTuple):
    file: str
    find: str
    replace: str


class Bug(NamedTuple):
    name: str
    why: str
    seen: str
    edits: list


A = "agentd/core/"
S = "scheduler/core/"

RECORDS = [
    Bug("skip-intent",
        why="Intent is recorded before the driver is touched: agentd starts a sandbox that no record names.",
        seen="a Start without a durable intent; after a crash a sandbox that nobody knows",
        edits=[Edit(A + "orders.cpp",
                    'executor.start_ticket = order.ticket;\n  executor.is_record_due = true;',
                    'executor.start_ticket = order.ticket;\n'
                    '  executor.is_record_due = !SKEP_PLANTED("skip-intent");')]),
    Bug("start-before-intent",
        why="Intent is recorded before the driver is touched: agentd asks for both in the wrong order.",
        seen="a driver call that comes before the record of its intent",
        edits=[Edit(A + "pace.cpp",
                    'if (auto verb = due_verb(executor)) call(executor, std::move(*verb));',
                    'if (auto verb = due_verb(executor)) call(executor, std::move(*verb));\n'
                    '  if (SKEP_PLANTED("start-before-intent") && out.size() > 1 &&\n'
                    '      std::holds_alternative<CallDriver>(out.back()) &&\n'
                    '      std::holds_alternative<RecordIntent>(out[out.size() - 2]))\n'
                    '    std::swap(out.back(), out[out.size() - 2]);')]),
    Bug("record-after-action",
        why="The scheduler records what it plans before it touches a controller: here the record comes last.",
        seen="a CreateNode that comes before the record of its executor",
        edits=[Edit(S + "plan.cpp",
                    'return std::holds_alternative<RecordExecutor>(action);',
                    'return std::holds_alternative<RecordExecutor>(action) != SKEP_PLANTED("record-after-action");')]),
    Bug("planned-not-recorded",
        why="The scheduler records what it plans before it touches a controller: here a launch is not recorded.",
        seen="a CreateNode without a durable record of its executor; after a crash a node that nobody knows",
        edits=[Edit(S + "joining.cpp",
                    'record(e);\n  CreateNode create;',
                    'if (!SKEP_PLANTED("planned-not-recorded")) record(e);\n  CreateNode create;')]),
    Bug("opening-not-recorded",
        why="That a gate was opened is recorded first, so that a later leader never offers that executor again.",
        seen="an OpenGate without a durable record that says so; a second build after a change of leaders",
        edits=[Edit(S + "gate.cpp",
                    'e.record.was_opened = true;\n    record(e);',
                    'e.record.was_opened = true;\n    if (!SKEP_PLANTED("opening-not-recorded")) record(e);')]),
    Bug("tombstones-forgotten",
        why="An id is never used again: a late or repeated order brings an executor back that is gone.",
        seen="a host takes an order for an id that it had called gone, such as one that comes after its destroy",
        edits=[Edit(A + "orders.cpp",
                    'if (tombstones.count(spec.id) != 0) {',
                    'if (!SKEP_PLANTED("tombstones-forgotten") && tombstones.count(spec.id) != 0) {')]),
    Bug("name-used-twice",
        why="Names of nodes are never used again: the counter starts anew and nothing is random.",
        seen="CreateNode asks for a name that an earlier executor had",
        edits=[Edit(S + "joining.cpp",
                    'do {\n    e.record.id = make_node_name(',
                    'if (SKEP_PLANTED("name-used-twice")) names_ = 0;\n  do {\n    e.record.id = make_node_name('),
               Edit(S + "node_names.cpp",
                    'tail += digits[static_cast<std::size_t>(prng.below(36))];',
                    'tail += SKEP_PLANTED("name-used-twice") ? \'0\'\n'
                    '                                           : digits[static_cast<std::size_t>(prng.below(36))];'),
               Edit(S + "executors.cpp",
                    'e.gone_at.value_or(now) + config.gone_keep;',
                    'e.gone_at.value_or(now) +\n'
                    '          (SKEP_PLANTED("name-used-twice") ? Duration::zero() : config.gone_keep);')]),
    Bug("audit-not-written",
        why="Every executor leaves an audit record.",
        seen="an executor is recorded gone without an audit record",
        edits=[Edit(S + "leaving.cpp",
                    'emit(std::move(audit));',
                    'if (!SKEP_PLANTED("audit-not-written")) emit(std::move(audit));')]),
    Bug("violation-not-flagged",
        why="A second build on one executor is audited as a violation.",
        seen="two builds ran on an executor whose audit record shows no violation",
        edits=[Edit(S + "leaving.cpp",
                    'audit.is_violation = e.record.builds_seen.size() > 1;',
                    'audit.is_violation = !SKEP_PLANTED("violation-not-flagged") &&\n'
                    '                       e.record.builds_seen.size() > 1;')]),
    Bug("hidden-build-not-audited",
        why="Where a second build can be neither shown nor ruled out, the audit says so.",
        seen="two builds ran on an executor, one of them unseen, and its audit record claims that none is hidden",
        edits=[Edit(S + "leaving.cpp",
                    'audit.may_hide_build = !audit.is_violation && was_unwatched;',
                    'audit.may_hide_build = !SKEP_PLANTED("hidden-build-not-audited") && !audit.is_violation &&\n'
                    '                         was_unwatched;')]),
]

EPOCHS = [
    Bug("order-of-stale-epoch",
        why="Orders of a leader that was replaced are refused.",
        seen="a host accepts an order whose epoch is below the highest that it has answered",
        edits=[Edit(A + "orders.cpp",
                    'if (!error) error = check_epoch(event.order.epoch);',
                    'if (!error && !SKEP_PLANTED("order-of-stale-epoch")) error = check_epoch(event.order.epoch);')]),
    Bug("destroy-of-stale-epoch",
        why="A leader that was replaced cannot destroy: it does not know what the new one has there.",
        seen="a host carries out a destroy whose epoch is below the highest that it has answered; a build killed",
        edits=[Edit(A + "orders.cpp",
                    'if (!error) error = check_epoch(event.epoch);',
                    'if (!error && !SKEP_PLANTED("destroy-of-stale-epoch")) error = check_epoch(event.epoch);')]),
    Bug("lease-of-stale-epoch",
        why="A leader that was replaced cannot keep executors alive, nor say which of them are busy.",
        seen="a host accepts leases whose epoch is below the highest that it has answered",
        edits=[Edit(A + "orders.cpp",
                    'if (!error) error = check_epoch(event.renewal.epoch);',
                    'if (!error && !SKEP_PLANTED("lease-of-stale-epoch")) error = check_epoch(event.renewal.epoch);')]),
    Bug("epoch-not-durable",
        why="The highest epoch survives a restart of agentd.",
        seen="a new epoch is answered without a RecordEpoch; after a restart the older leader is obeyed again",
        edits=[Edit(A + "orders.cpp",
                    'out.emplace_back(RecordEpoch{epoch});',
                    'if (!SKEP_PLANTED("epoch-not-durable")) out.emplace_back(RecordEpoch{epoch});')]),
    Bug("fence-ignored",
        why="A leader that learns of a newer one stops acting, above all on controllers, which know no epochs.",
        seen="a scheduler goes on creating nodes and opening gates after a host answered with a higher epoch",
        edits=[Edit(S + "logic.cpp",
                    'if (!fenced_by.empty()) return;',
                    'if (!fenced_by.empty() || SKEP_PLANTED("fence-ignored")) return;'),
               Edit(S + "joining.cpp",
                    'if (error.code == ErrorCode::stale_epoch) return fence(',
                    'if (error.code == ErrorCode::stale_epoch && !SKEP_PLANTED("fence-ignored")) return fence('),
               Edit(S + "leaving.cpp",
                    'if (error.code == ErrorCode::stale_epoch) return fence(',
                    'if (error.code == ErrorCode::stale_epoch && !SKEP_PLANTED("fence-ignored")) return fence(')]),
]

UNKNOWN_IS_NEVER_EMPTY = [
    Bug("failed-queue-read-is-empty",
        why="Unknown is never empty: a queue that cannot be read is taken for an empty one.",
        seen="an executor whose item still waits is given up as used, though nothing ran on it",
        edits=[Edit(S + "controllers.cpp",
                    'if (!event.queue) {',
                    'if (!event.queue && SKEP_PLANTED("failed-queue-read-is-empty")) {\n'
                    '    QueueRead empty = event;\n'
                    '    empty.queue = QueueSnapshot{};\n'
                    '    return on_queue_read(empty);\n'
                    '  }\n'
                    '  if (!event.queue) {')]),
    Bug("failed-nodes-read-is-empty",
        why="Unknown is never empty: when the nodes cannot be read, all are taken for deleted.",
        seen="one failed read, and executors that come or wait are destroyed while their nodes are left",
        edits=[Edit(S + "nodes.cpp",
                    'if (!event.nodes) {',
                    'if (!event.nodes && SKEP_PLANTED("failed-nodes-read-is-empty")) {\n'
                    '    NodesRead empty = event;\n'
                    '    empty.nodes = NodesSnapshot{};\n'
                    '    return on_nodes_read(empty);\n'
                    '  }\n'
                    '  if (!event.nodes) {')]),
    Bug("unseen-host-is-empty",
        why="Unknown is never empty: the executors of a host that cannot be asked count as gone.",
        seen="executors are recorded gone, and their room is planned again, while their sandboxes run",
        edits=[Edit(S + "hosts.cpp",
                    'found->second.unseen_reason = event.error.message;',
                    'found->second.unseen_reason = event.error.message;\n'
                    '  if (SKEP_PLANTED("unseen-host-is-empty")) {\n'
                    '    for (const auto& [id, e] : place_of(event.host).executors)\n'
                    '      missing_on_host(*e, "its host cannot be seen");\n'
                    '  }')]),
    Bug("departed-too-early",
        why="A host leaves the farm only when nothing of ours can be there any more.",
        seen="a host that is away for a moment is let go, and its executors are recorded gone while they run",
        edits=[Edit(S + "hosts.cpp",
                    'if (is_host_known(host)) return false;',
                    'if (is_host_known(host)) return false;\n  if (SKEP_PLANTED("departed-too-early")) return true;')]),
    Bug("stale-is-fresh",
        why="Old facts freeze decisions: here a read of any age will do.",
        seen="while a controller cannot be read, executors fail to join and lost builds are given up",
        edits=[Edit(S + "controllers.cpp",
                    'return poll.is_ok && poll.ok_started && *poll.ok_started >= facts_from && now - *poll.ok_started <= limit;',
                    'if (SKEP_PLANTED("stale-is-fresh")) return poll.ok_started.has_value();\n'
                    '  return poll.is_ok && poll.ok_started && *poll.ok_started >= facts_from && now - *poll.ok_started <= limit;')]),
    Bug("unknown-start-is-failed",
        why="After an unknown outcome agentd looks before it acts: here a start that may have worked counts as failed.",
        seen="a host says that an executor is gone, and another is started for its job, while its sandbox runs",
        edits=[Edit(A + "answers.cpp",
                    '++counters.starts_failed;',
                    '++counters.starts_failed;\n'
                    '  if (error.outcome == Outcome::unknown && SKEP_PLANTED("unknown-start-is-failed")) {\n'
                    '    begin_destroy(*executor, "it could not be started");\n'
                    '    return become_gone(event.id);\n'
                    '  }')]),
    Bug("unknown-destroy-is-done",
        why="After an unknown outcome agentd looks before it acts: here a destroy that may have failed counts as done.",
        seen="a host says that an executor is gone while its sandbox runs",
        edits=[Edit(A + "answers.cpp",
                    'if (!event.result) return note_failure(*executor, "destroy", event.result.error());',
                    'if (!event.result && SKEP_PLANTED("unknown-destroy-is-done") && executor->wants_gone &&\n'
                    '      event.result.error().outcome == Outcome::unknown)\n'
                    '    return become_gone(event.id);\n'
                    '  if (!event.result) return note_failure(*executor, "destroy", event.result.error());')]),
    Bug("adopted-taken-for-orphan",
        why="agentd adopts what its records name: here a restart destroys whatever runs.",
        seen="builds are killed by a restart of agentd",
        edits=[Edit(A + "answers.cpp",
                    'if (found == executors.end()) {\n    const auto stone',
                    'if (found == executors.end() ||\n'
                    '      (SKEP_PLANTED("adopted-taken-for-orphan") && found->second.is_adopting)) {\n'
                    '    const auto stone')]),
    Bug("recover-not-done",
        why="After a restart agentd takes each sandbox over again: here it knows of them and looks at none.",
        seen="after a restart of agentd no Recover is asked for, and sandboxes that run stay unknown",
        edits=[Edit(A + "answers.cpp",
                    'if (!sandbox.handle.blob.empty()) executor.record.handle = sandbox.handle;\n'
                    '  executor.is_recover_due = true;',
                    'if (!sandbox.handle.blob.empty()) executor.record.handle = sandbox.handle;\n'
                    '  executor.is_recover_due = !SKEP_PLANTED("recover-not-done");\n'
                    '  if (SKEP_PLANTED("recover-not-done")) executor.next_inspect = Instant::max();')]),
    Bug("lost-opening-is-closed",
        why="An opening whose answer is lost may have happened: the gate is closed before it counts as closed.",
        seen="a gate stands open that nobody watches; a second build that no audit record admits",
        edits=[Edit(S + "gate.cpp",
                    'if (!is_theirs) return begin_close(*e, reason_prefix + "opening failed");',
                    'if (!is_theirs && SKEP_PLANTED("lost-opening-is-closed")) {\n'
                    '    e->gate = Gate::closed;\n'
                    '    e->opened_at.reset();\n'
                    '    return end_offer(*e, true);\n'
                    '  }\n'
                    '  if (!is_theirs) return begin_close(*e, reason_prefix + "opening failed");'),
               Edit(S + "gate.cpp",
                    'if (!node.is_temporarily_offline && node.is_connected) {\n    say(',
                    'if (!node.is_temporarily_offline && node.is_connected &&\n'
                    '      !SKEP_PLANTED("lost-opening-is-closed")) {\n    say(')]),
    Bug("node-judged-missing-by-old-list",
        why="A list that was asked for before a node was made says nothing of it. As where a runner that is not listed "
            "yet is deleted just before it takes a job.",
        seen="launches fail because of a missing node that exists; the node is left and its executor destroyed",
        edits=[Edit(S + "nodes.cpp",
                    'if (started < e.create_answered) return;',
                    'if (started < e.create_answered && !SKEP_PLANTED("node-judged-missing-by-old-list")) return;'),
               Edit(S + "nodes.cpp",
                    'if (e.node_session != c.session || e.lost_since) return false;',
                    'if (SKEP_PLANTED("node-judged-missing-by-old-list") && e.state() < ExecutorState::idle) return false;\n'
                    '  if (e.node_session != c.session || e.lost_since) return false;'),
               Edit(S + "nodes.cpp",
                    '(event.started < e.create_answered || doubts_absence(*c, e))',
                    '((event.started < e.create_answered && !SKEP_PLANTED("node-judged-missing-by-old-list")) ||\n'
                    '                           doubts_absence(*c, e))')]),
]

CAPACITY = [
    Bug("slot-freed-on-request",
        why="Room is free when its executor was seen gone, not when its end was asked for.",
        seen="an executor is recorded gone while its host is still destroying it",
        edits=[Edit(S + "leaving.cpp",
                    'if (event.result->state == ExecutorState::gone) missing_on_host(*e, "destroyed");',
                    'if (event.result->state == ExecutorState::gone || SKEP_PLANTED("slot-freed-on-request"))\n'
                    '      missing_on_host(*e, "destroyed");')]),
    Bug("stop-without-destroy",
        why="A stopped sandbox is destroyed, and seen gone, before its room is free.",
        seen="a host says that an executor is gone while what it left is still there",
        edits=[Edit(A + "answers.cpp",
                    'executor->is_stop_done = true;\n  if (event.result) return;',
                    'executor->is_stop_done = true;\n'
                    '  if (SKEP_PLANTED("stop-without-destroy")) executor->is_destroy_done = true;\n'
                    '  if (event.result) return;'),
               Edit(A + "answers.cpp",
                    'if (sandbox.state == SandboxState::absent) return become_gone(event.id);',
                    'if (sandbox.state == SandboxState::absent ||\n'
                    '        (SKEP_PLANTED("stop-without-destroy") && sandbox.state == SandboxState::exited))\n'
                    '      return become_gone(event.id);')]),
    Bug("memory-not-counted",
        why="Capacity holds in every dimension: here memory is free of charge, for scheduler and host.",
        seen="the executors of a host have more memory than the host",
        edits=[Edit(S + "placement.cpp",
                    'if (wanted.resources.memory_bytes > host.free.memory_bytes) return Filter::memory;',
                    'if (wanted.resources.memory_bytes > host.free.memory_bytes &&\n'
                    '      !SKEP_PLANTED("memory-not-counted"))\n'
                    '    return Filter::memory;'),
               Edit(A + "orders.cpp",
                    'const auto shortage = spec.resources.shortage_in(free);',
                    'Resources wanted = spec.resources;\n'
                    '  if (SKEP_PLANTED("memory-not-counted")) wanted.memory_bytes = 0;\n'
                    '  const auto shortage = wanted.shortage_in(free);')]),
    Bug("max-executors-ignored",
        why="A host has at most so many executors: here neither scheduler nor host counts them.",
        seen="a host has more executors than its limit",
        edits=[Edit(S + "placement.cpp",
                    'if (host.executors >= host.max_executors) return Filter::executors_limit;',
                    'if (host.executors >= host.max_executors && !SKEP_PLANTED("max-executors-ignored"))\n'
                    '    return Filter::executors_limit;'),
               Edit(S + "placement.cpp",
                    'host.is_draining || host.executors >= host.max_executors) return refused_score;',
                    'host.is_draining ||\n'
                    '      (host.executors >= host.max_executors && !SKEP_PLANTED("max-executors-ignored")))\n'
                    '    return refused_score;'),
               Edit(A + "orders.cpp",
                    'if (static_cast<std::int64_t>(executors.size()) >= config.max_executors) {',
                    'if (!SKEP_PLANTED("max-executors-ignored") &&\n'
                    '      static_cast<std::int64_t>(executors.size()) >= config.max_executors) {')]),
    Bug("host-attributes-ignored",
        why="A template's host attributes are equal on every host that runs it.",
        seen="an executor runs on a host that lacks an attribute its template asks for",
        edits=[Edit(S + "placement.cpp",
                    'if (!has_attributes(wanted, host)) return Filter::attributes;',
                    'if (!SKEP_PLANTED("host-attributes-ignored") && !has_attributes(wanted, host))\n'
                    '    return Filter::attributes;')]),
    Bug("image-not-asked-for",
        why="An executor is placed where its image is.",
        seen="an executor is planned for a host that said that it lacks its image",
        edits=[Edit(S + "placement.cpp",
                    'if (!wanted.image.empty() && !contains(host.images, wanted.image)) return Filter::image;',
                    'if (!wanted.image.empty() && !contains(host.images, wanted.image) &&\n'
                    '      !SKEP_PLANTED("image-not-asked-for"))\n'
                    '    return Filter::image;')]),
    Bug("maximum-ignored",
        why="A template has at most so many executors.",
        seen="a template has more executors than its maximum while more jobs wait",
        edits=[Edit(S + "plan.cpp",
                    'if (existing_[index] >= value.maximum) return',
                    'if (!SKEP_PLANTED("maximum-ignored") && existing_[index] >= value.maximum) return')]),
    Bug("creation-rate-ignored",
        why="A controller is asked to create so many nodes a second at most.",
        seen="many jobs at once, and more CreateNode within a second than are allowed",
        edits=[Edit(S + "plan.cpp",
                    'if (token <= s_.now) return std::nullopt;',
                    'if (token <= s_.now || SKEP_PLANTED("creation-rate-ignored")) return std::nullopt;'),
               Edit(S + "plan.cpp",
                    'SKEP_ASSERT(has_token);',
                    'SKEP_ASSERT(has_token || SKEP_PLANTED("creation-rate-ignored"));')]),
    Bug("coming-per-host-ignored",
        why="A host starts so many executors at once at most.",
        seen="more executors of one host are on their way than are allowed",
        edits=[Edit(S + "placement.cpp",
                    'if (host.coming >= policy.max_coming_per_host) return Filter::pace;',
                    'if (host.coming >= policy.max_coming_per_host && !SKEP_PLANTED("coming-per-host-ignored"))\n'
                    '    return Filter::pace;')]),
    Bug("open-gates-ignored",
        why="So many gates are open at once at most, as each one costs a controller requests.",
        seen="more gates of a controller are open than are allowed",
        edits=[Edit(S + "plan.cpp",
                    'const bool opens = is_buildable && c_.open_gates <',
                    'const bool opens = is_buildable &&\n'
                    '                       (SKEP_PLANTED("open-gates-ignored") ? -1 : c_.open_gates) <')]),
    Bug("joining-not-counted",
        why="One item brings one executor: here one that is joining does not count, so yet another is launched.",
        seen="far more executors are launched than there are jobs",
        edits=[Edit(S + "plan.cpp",
                    'if (!is_unseen) coming_.add(*index, e);',
                    'if (SKEP_PLANTED("joining-not-counted") && state == ExecutorState::joining) return;\n'
                    '    if (!is_unseen) coming_.add(*index, e);')]),
    Bug("restart-leaks-the-limit",
        why="What a restart adopts leaves the count of its template when it ends. As where a restart leaks the "
            "counter of a limit.",
        seen="after restarts with builds under way a template stays below its maximum while jobs wait; some never run",
        edits=[Edit(S + "executors.cpp",
                    'if (from == ExecutorState::busy) --busy_of[e.record.template_name];',
                    'if (from == ExecutorState::busy && !(SKEP_PLANTED("restart-leaks-the-limit") && e.is_adopted))\n'
                    '    --busy_of[e.record.template_name];')]),
    Bug("failed-ones-fill-the-maximum",
        why="What failed leaves, and does not count. As where failed runners use the maximum up and block new ones.",
        seen="executors stay failed with their nodes; once a template's maximum of them failed, its jobs never run",
        edits=[Edit(S + "executors.cpp",
                    'case ExecutorState::failed:\n    case ExecutorState::destroying:\n    case ExecutorState::gone:\n'
                    '      return false;',
                    'case ExecutorState::gone:\n      return false;\n'
                    '    case ExecutorState::failed:\n    case ExecutorState::destroying:\n'
                    '      return SKEP_PLANTED("failed-ones-fill-the-maximum");'),
               Edit(S + "executors.cpp",
                    'case ExecutorState::failed:\n      return advance_end(e);',
                    'case ExecutorState::failed:\n'
                    '      if (e.state() == ExecutorState::failed && SKEP_PLANTED("failed-ones-fill-the-maximum"))\n'
                    '        return;\n'
                    '      return advance_end(e);'),
               Edit(S + "executors.cpp",
                    'if (is_leaving || state == ExecutorState::gone) return false;',
                    'const bool counts = is_leaving && SKEP_PLANTED("failed-ones-fill-the-maximum");\n'
                    '  if ((is_leaving && !counts) || state == ExecutorState::gone) return false;'),
               Edit(S + "plan.cpp",
                    'const bool is_over = state == ExecutorState::gone || state == ExecutorState::failed ||\n'
                    '                       state == ExecutorState::destroying || state == ExecutorState::busy;',
                    'const bool is_ending = state == ExecutorState::failed || state == ExecutorState::destroying;\n'
                    '  const bool is_over = state == ExecutorState::gone || state == ExecutorState::busy ||\n'
                    '                       (is_ending && !SKEP_PLANTED("failed-ones-fill-the-maximum"));')]),
]

ONE_BUILD = [
    Bug("gate-left-open",
        why="A gate is closed at the sight of a build.",
        seen="an executor runs one build after the other, each audited as a violation, and is hardly ever gone",
        edits=[Edit(S + "gate.cpp",
                    'if (e.gate == Gate::closing) return;',
                    'if (e.gate == Gate::closing || (SKEP_PLANTED("gate-left-open") && why == busy_reason)) return;'),
               Edit(S + "joining.cpp",
                    'const bool is_gate_open = e.gate == Gate::opening || e.gate == Gate::open;',
                    'const bool is_gate_open = !SKEP_PLANTED("gate-left-open") &&\n'
                    '                            (e.gate == Gate::opening || e.gate == Gate::open);'),
               Edit(S + "busy.cpp",
                    'if (is_gated(e) && node.executor_count > 0) {',
                    'if (!SKEP_PLANTED("gate-left-open") && is_gated(e) && node.executor_count > 0) {')]),
    Bug("gate-opened-for-used",
        why="An executor runs one build: here one whose build is over counts as fresh.",
        seen="a second build on one executor, and its audit record admits one only",
        edits=[Edit(S + "busy.cpp",
                    'if (e.idle_reads >= 2) build_over(',
                    'if (e.idle_reads >= 2 && SKEP_PLANTED("gate-opened-for-used")) {\n'
                    '    set_state(e, ExecutorState::joining);\n'
                    '    set_state(e, ExecutorState::idle);\n'
                    '    e.record.was_used = false;\n'
                    '    return e.record.builds_seen.clear();\n'
                    '  }\n'
                    '  if (e.idle_reads >= 2) build_over(')]),
    Bug("gate-opened-twice",
        why="One item opens one gate.",
        seen="two gates are open for one item at the same time, or an executor is launched for an item that has one",
        edits=[Edit(S + "plan.cpp",
                    'settled_.insert(e.offer->item);',
                    'if (!SKEP_PLANTED("gate-opened-twice")) settled_.insert(e.offer->item);')]),
    Bug("foreign-offline-opened",
        why="What somebody else took offline stays so.",
        seen="an OpenGate for a node that an administrator took offline",
        edits=[Edit(S + "gate.cpp",
                    '!e.node || is_foreign_offline(*e.node) ||',
                    '!e.node ||\n      (is_foreign_offline(*e.node) && !SKEP_PLANTED("foreign-offline-opened")) ||')]),
    Bug("hook-marker-missing",
        why="Without a gate the controller's hook keeps one build per executor: it knows our nodes by a label.",
        seen="on a controller with the hook a node lacks the label, and takes a second build",
        edits=[Edit(S + "joining.cpp",
                    'if (is_gated(e)) return text;',
                    'if (is_gated(e) || SKEP_PLANTED("hook-marker-missing")) return text;')]),
    Bug("suspension-not-noticed",
        why="The clock of a machine that was suspended stood still, so the wall's tells that nobody watched an open gate.",
        seen="two builds came and went through an open gate meanwhile, and the audit rules a second one out",
        edits=[Edit(S + "gate.cpp",
                    'if (gained <= shortest_build) return;',
                    'if (gained <= shortest_build || SKEP_PLANTED("suspension-not-noticed")) return;')]),
    Bug("late-joiner-kept",
        why="What missed its deadline is refused when it joins after all: its node is deleted first.",
        seen="an agent connects to the node of an executor that is recorded failed; with the hook it takes a build",
        edits=[Edit(S + "leaving.cpp",
                    'if (!e.is_node_gone) {',
                    'const bool is_kept = SKEP_PLANTED("late-joiner-kept") && !e.connected_at && !e.is_gone_on_host;\n'
                    '  if (!e.is_node_gone && !is_kept) {')]),
]

BUILDS_ARE_NOT_KILLED = [
    Bug("retire-on-stale-idle",
        why="A build is over when looks that were sent after the close say so twice: here any look will do.",
        seen="an executor whose build has just begun is destroyed: the build is killed",
        edits=[Edit(S + "nodes.cpp",
                    'if (e.is_node_known && started < e.node_read) {',
                    'if (e.is_node_known && started < e.node_read && !SKEP_PLANTED("retire-on-stale-idle")) {'),
               Edit(S + "busy.cpp",
                    'const bool is_decisive = e.gate == Gate::closed && started >= e.close_acked;',
                    'const bool is_decisive = SKEP_PLANTED("retire-on-stale-idle") ||\n'
                    '                             (e.gate == Gate::closed && started >= e.close_acked);'),
               Edit(S + "busy.cpp",
                    '++e.idle_reads;',
                    'e.idle_reads += SKEP_PLANTED("retire-on-stale-idle") ? 2 : 1;')]),
    Bug("retired-without-a-look",
        why="An idle executor that leaves is closed and looked at first, as a build may just have begun.",
        seen="a host drains, or an executor is retired, in the moment it gets its build, and the build is killed",
        edits=[Edit(S + "gate.cpp",
                    'if (e.retiring && (e.gate == Gate::none ||',
                    'if (e.retiring && SKEP_PLANTED("retired-without-a-look")) return finish(e, *e.retiring);\n'
                    '  if (e.retiring && (e.gate == Gate::none ||')]),
    Bug("kill-busy-on-lease-end",
        why="A busy executor outlives a silent leader.",
        seen="a leader is silent for longer than a lease, and builds are killed",
        edits=[Edit(A + "pace.cpp",
                    'const bool is_unneeded = !may_run_build(executor) ||',
                    'const bool is_unneeded = SKEP_PLANTED("kill-busy-on-lease-end") || !may_run_build(executor) ||')]),
    Bug("order-not-busy",
        why="A build may come as soon as an agent is connected: the order says so, since the next lease may never come.",
        seen="a leader ends right after a build began, for longer than a lease, and the build is killed",
        edits=[Edit(S + "joining.cpp",
                    'order.order.is_busy = true;',
                    'order.order.is_busy = !SKEP_PLANTED("order-not-busy");')]),
    Bug("opened-before-told",
        why="The host of an idle executor is told that a build may come before its gate is opened.",
        seen="a leader ends right after a warm executor got its build, for longer than a lease, and the build is killed",
        edits=[Edit(S + "gate.cpp",
                    'if (e.is_told_idle) {',
                    'if (e.is_told_idle && !SKEP_PLANTED("opened-before-told")) {')]),
    Bug("agent-end-is-build-end",
        why="A restart of the controller ends agents while builds go on: a sandbox outlives its agent for a while.",
        seen="no leader for a lease, the controller restarts, and a pipeline that would go on is killed",
        edits=[Edit(A + "pace.cpp",
                    'if (!is_alone || !may_run_build(executor) || !executor.agent_ended_at) return std::nullopt;',
                    'if (SKEP_PLANTED("agent-end-is-build-end")) return std::nullopt;\n'
                    '  if (!is_alone || !may_run_build(executor) || !executor.agent_ended_at) return std::nullopt;')]),
    Bug("old-list-ends-builds",
        why="A list of nodes may be old: only a look at the node itself shows that its build is over.",
        seen="lists are stale, and builds are killed",
        edits=[Edit(S + "nodes.cpp",
                    'e.is_node_listed = read.is_list;',
                    'e.is_node_listed = read.is_list && !SKEP_PLANTED("old-list-ends-builds");')]),
    Bug("warm-before-jobs",
        why="Jobs that wait come before executors that are kept in reserve.",
        seen="idle executors fill the only host that could run a job, and the job never runs",
        edits=[Edit(S + "plan.cpp",
                    'if (s_.is_paused || !s_.making_room.empty() || waiting_for_room_.empty()) return;',
                    'if (s_.is_paused || !s_.making_room.empty() || waiting_for_room_.empty() || SKEP_PLANTED("warm-before-jobs")) return;')]),
    Bug("audit-after-record",
        why="The audit is written before the record that ends an executor, so that a crash in between loses nothing.",
        seen="a crash in between, and an executor is recorded gone without an audit record",
        edits=[Edit(S + "leaving.cpp",
                    'e.gone_at = now;',
                    'e.gone_at = now;\n  if (SKEP_PLANTED("audit-after-record")) record(e);')]),
    Bug("busy-lease-not-renewed",
        why="The leases of busy executors are renewed.",
        seen="builds that run longer than a lease are killed",
        edits=[Edit(S + "hosts.cpp",
                    'if (is_over && e->state() != ExecutorState::held) continue;',
                    'if (SKEP_PLANTED("busy-lease-not-renewed") && e->state() == ExecutorState::busy) continue;\n'
                    '      if (is_over && e->state() != ExecutorState::held) continue;')]),
    Bug("busy-not-told",
        why="With each lease a host is told who is busy, so that it keeps those when the leader falls silent.",
        seen="a lease calls a busy executor unneeded; when the leader falls silent, its build is killed",
        edits=[Edit(S + "hosts.cpp",
                    'renew.renewal.executors.push_back({executor, !is_idle});',
                    'renew.renewal.executors.push_back({executor, !is_idle && !SKEP_PLANTED("busy-not-told")});')]),
    Bug("busy-stray-destroyed",
        why="A busy executor that no record names is kept until its build is over.",
        seen="the scheduler's records are lost, and builds are killed",
        edits=[Edit(S + "strays.cpp",
                    'if (is_busy && report.agent != AgentPhase::ended) return adopt(',
                    'if (!SKEP_PLANTED("busy-stray-destroyed") && is_busy && report.agent != AgentPhase::ended)\n'
                    '      return adopt('),
               Edit(S + "strays.cpp",
                    'if (is_there) return adopt_idle(',
                    'if (is_there && !(is_busy && SKEP_PLANTED("busy-stray-destroyed"))) return adopt_idle(')]),
    Bug("reload-retires-busy",
        why="A new configuration lets builds end.",
        seen="a template is changed or removed, and its builds are killed",
        edits=[Edit(S + "operators.cpp",
                    'if (is_dropped(e, config)) {\n      e.is_obsolete = true;',
                    'if (is_dropped(e, config)) {\n      e.is_obsolete = true;\n'
                    '      if (SKEP_PLANTED("reload-retires-busy") && e.state() == ExecutorState::busy)\n'
                    '        build_over(e, "retired: its template was changed or removed");')]),
    Bug("retire-kills-busy",
        why="Retiring waits for the build, unless told otherwise.",
        seen="an executor is retired without force while it is busy, and its build is killed",
        edits=[Edit(S + "operators.cpp",
                    'if (even_if_busy) build_over(e, end);',
                    'if (even_if_busy || SKEP_PLANTED("retire-kills-busy")) build_over(e, end);')]),
    Bug("resumable-destroyed",
        why="A build whose node was lost may resume: its sandbox is kept for the resume window.",
        seen="a controller restarts, and pipelines that wait for their node never go on",
        edits=[Edit(S + "busy.cpp",
                    'const Instant end = *e.lost_since + config.resume_window;',
                    'const Instant end = *e.lost_since +\n'
                    '      (SKEP_PLANTED("resumable-destroyed") ? Duration::zero() : config.resume_window);')]),
]

NOTHING_IS_LEFT = [
    Bug("destroy-during-start-stuck",
        why="A destroy that meets a start is carried out after it. As where such a race leaves instances stuck until a "
            "restart.",
        seen="a sandbox is left for ever, with its host saying that it is being destroyed",
        edits=[Edit(A + "answers.cpp",
                    'void AgentdLogic::State::on(const DriverStarted& event) {',
                    'void AgentdLogic::State::on(const DriverStarted& event) {\n'
                    '  if (SKEP_PLANTED("destroy-during-start-stuck")) {\n'
                    '    const auto found = executors.find(event.id);\n'
                    '    if (found != executors.end() && found->second.wants_gone) return;\n'
                    '  }')]),
    Bug("creating-record-stuck",
        why="An intent whose start never happened can be removed. As where records in creating without an instance can "
            "never be deleted.",
        seen="agentd dies between intent and start, and the executor keeps its room on the host for ever",
        edits=[Edit(A + "answers.cpp",
                    'executor.seen = SandboxState::absent;\n    fail(executor, lost_ticket);',
                    'executor.seen = SandboxState::absent;\n'
                    '    if (SKEP_PLANTED("creating-record-stuck")) return;\n'
                    '    fail(executor, lost_ticket);'),
               Edit(A + "executors.cpp",
                    'explain(Level::info, "destroying executor: " + reason, executor.id());',
                    'if (SKEP_PLANTED("creating-record-stuck") && executor.call == 0 &&\n'
                    '      executor.record.state == IntentState::creating && executor.seen == SandboxState::absent) {\n'
                    '    executor.lease_until = now + hours(1);\n'
                    '    return executor.deadline.reset();\n'
                    '  }\n'
                    '  explain(Level::info, "destroying executor: " + reason, executor.id());')]),
    Bug("controller-gone-delete-pending",
        why="A controller that is no longer configured holds nothing up. As where a deletion is pending for ever "
            "once its provider is gone.",
        seen="a controller leaves the configuration, and its executors stay destroying with their sandboxes",
        edits=[Edit(S + "leaving.cpp",
                    'if (c == nullptr) e.is_node_gone = true;',
                    'if (c == nullptr && SKEP_PLANTED("controller-gone-delete-pending")) return;\n'
                    '  if (c == nullptr) e.is_node_gone = true;')]),
    Bug("cancelled-job-leaves-executor",
        why="What was launched for a job that went away leaves after its idle limit. As where a cancelled job "
            "leaves its runner.",
        seen="an unused executor stays idle beyond its idle limit and the minimum of its template",
        edits=[Edit(S + "plan.cpp",
                    'keep_minimum();\n  recycle();\n',
                    'keep_minimum();\n  if (!SKEP_PLANTED("cancelled-job-leaves-executor")) recycle();\n')]),
    Bug("sandbox-left-after-build",
        why="The sandbox of a used executor is destroyed and seen gone. As where pods are left after the pipeline.",
        seen="a used executor is recorded gone, nobody asked its host to destroy it, and its sandbox runs",
        edits=[Edit(S + "leaving.cpp",
                    'const bool is_host_free = !e.was_ordered && !e.is_adopted;',
                    'const bool is_host_free = (SKEP_PLANTED("sandbox-left-after-build") && e.record.was_used) ||\n'
                    '                            (!e.was_ordered && !e.is_adopted);')]),
    Bug("no-boot-deadline",
        why="What hangs while it starts is given up, by host and scheduler. As where such tasks leak.",
        seen="an executor is booting for ever, and its job never runs",
        edits=[Edit(A + "pace.cpp",
                    '} else if (executor.state == S::creating || executor.state == S::booting) {',
                    '} else if (SKEP_PLANTED("no-boot-deadline")) {\n'
                    '    executor.deadline.reset();\n'
                    '  } else if (executor.state == S::creating || executor.state == S::booting) {'),
               Edit(S + "joining.cpp",
                    'const Duration boot = e.spec ?',
                    'const Duration boot = SKEP_PLANTED("no-boot-deadline") ? Duration(hours(24 * 365)) : e.spec ?')]),
    Bug("no-join-deadline",
        why="What starts and never connects is given up, by host and scheduler. As where such tasks leak.",
        seen="an executor is joining for ever, and its job never runs",
        edits=[Edit(A + "pace.cpp",
                    'if (executor.state == S::joining) {',
                    'if (SKEP_PLANTED("no-join-deadline") && executor.state == S::joining) {\n'
                    '    executor.deadline.reset();\n'
                    '  } else if (executor.state == S::joining) {'),
               Edit(S + "joining.cpp",
                    'const Duration join = e.spec ?',
                    'const Duration join = SKEP_PLANTED("no-join-deadline") ? Duration(hours(24 * 365)) : e.spec ?')]),
    Bug("lease-never-ends",
        why="What no leader needs leaves when its lease ends.",
        seen="no scheduler comes back, and unused sandboxes run for ever",
        edits=[Edit(A + "pace.cpp",
                    'if (now < executor.lease_until) return;',
                    'if (SKEP_PLANTED("lease-never-ends") && now >= executor.lease_until)\n'
                    '    executor.lease_until = now + hours(1);\n'
                    '  if (now < executor.lease_until) return;')]),
    Bug("orphan-never-destroyed",
        why="A sandbox that carries our tag and that no record names is destroyed.",
        seen="the records of an agentd are lost, and the sandboxes that ran there are left for ever",
        edits=[Edit(A + "answers.cpp",
                    'if (went_meanwhile) return;',
                    'if (went_meanwhile || SKEP_PLANTED("orphan-never-destroyed")) return;')]),
    Bug("node-never-deleted",
        why="Each node that was created is deleted and seen gone; what is left over is swept.",
        seen="an executor is recorded gone while its node exists, and the node is left for ever",
        edits=[Edit(S + "leaving.cpp",
                    'if (!e.record.node_created) e.is_node_gone = true;',
                    'if (!e.record.node_created || SKEP_PLANTED("node-never-deleted")) e.is_node_gone = true;'),
               Edit(S + "nodes.cpp",
                    'if (!is_ours || !is_free) continue;',
                    'if (!is_ours || !is_free || SKEP_PLANTED("node-never-deleted")) continue;')]),
    Bug("failed-delete-is-done",
        why="A node is gone when it was seen gone, not when its deletion was answered.",
        seen="one deletion fails, and an executor is recorded gone while its node exists",
        edits=[Edit(S + "leaving.cpp",
                    'e->delete_retry.note_failure(now, first_retry, last_retry);',
                    'if (SKEP_PLANTED("failed-delete-is-done")) e->is_node_gone = true;\n'
                    '  e->delete_retry.note_failure(now, first_retry, last_retry);')]),
    Bug("sweep-takes-foreign-nodes",
        why="Only nodes that this farm named are swept.",
        seen="a DeleteNode for a node that no scheduler made",
        edits=[Edit(S + "nodes.cpp",
                    'if (!parsed || parsed->epoch > epoch ||',
                    'if ((!parsed && !SKEP_PLANTED("sweep-takes-foreign-nodes")) ||\n'
                    '        (parsed && parsed->epoch > epoch) ||'),
               Edit(S + "nodes.cpp",
                    'return is_template_part(parsed->template_part, t->name);',
                    'return (SKEP_PLANTED("sweep-takes-foreign-nodes") && !parsed) ||\n'
                    '             is_template_part(parsed->template_part, t->name);')]),
]

OPERATORS = [
    Bug("drain-ignored",
        why="Nothing new is placed on a host that drains.",
        seen="an executor is planned for a host after it was drained",
        edits=[Edit(S + "hosts.cpp",
                    'view.is_draining = host->report.is_draining || drained != drains.end();',
                    'view.is_draining = !SKEP_PLANTED("drain-ignored") &&\n'
                    '                       (host->report.is_draining || drained != drains.end());')]),
    Bug("drain-of-a-host-forgotten",
        why="A host that its own operator drains does so until it is taken back, whatever happens to its agentd.",
        seen="agentd starts again, and a host that was drained takes orders",
        edits=[Edit(A + "orders.cpp",
                    'out.emplace_back(RecordDrain{is_draining, drain_reason});',
                    'if (!SKEP_PLANTED("drain-of-a-host-forgotten"))\n'
                    '      out.emplace_back(RecordDrain{is_draining, drain_reason});')]),
    Bug("order-taken-while-draining",
        why="A host that drains refuses what was ordered before its leader heard of it.",
        seen="an order that was on its way is taken by a host that drains",
        edits=[Edit(A + "orders.cpp",
                    'if (is_draining) {',
                    'if (is_draining && !SKEP_PLANTED("order-taken-while-draining")) {')]),
    Bug("ending-kills-busy",
        why="An agentd that ends once its host is empty waits for builds.",
        seen="a host leaves in order, and builds are killed",
        edits=[Edit(A + "pace.cpp",
                    'if (on_stop == OnStop::drain && is_unneeded)',
                    'if (on_stop == OnStop::drain && (is_unneeded || SKEP_PLANTED("ending-kills-busy")))')]),
    Bug("hold-ignored",
        why="A held executor is kept after its build.",
        seen="the sandbox of a held executor is destroyed before its time",
        edits=[Edit(S + "leaving.cpp",
                    'if (!e.held_until) return start_destroying(e);',
                    'if (!e.held_until || SKEP_PLANTED("hold-ignored")) return start_destroying(e);')]),
    Bug("hold-never-ends",
        why="A hold ends when its time is over.",
        seen="an executor stays held after its time",
        edits=[Edit(S + "leaving.cpp",
                    'if (e.held_until && now < *e.held_until) return wake(e, *e.held_until);',
                    'if (SKEP_PLANTED("hold-never-ends") && e.held_until) return;\n'
                    '  if (e.held_until && now < *e.held_until) return wake(e, *e.held_until);')]),
    Bug("hold-longer-than-meant",
        why="A hold that is read back on a clock that was set back is no longer than its operator meant it to be.",
        seen="the clock is set back, the scheduler starts again, and an executor stays held for hours or years",
        edits=[Edit(S + "operators.cpp",
                    'const Duration longest = given.held_for > Duration::zero() ?',
                    'const Duration longest = SKEP_PLANTED("hold-longer-than-meant") ? Duration(hours(24 * 7300))\n'
                    '                                   : given.held_for > Duration::zero() ?')]),
    Bug("forget-while-it-answers",
        why="A host that answers, or did a moment ago, is not forgotten: what runs there would lose its record.",
        seen="a host is forgotten that answered within the last minute",
        edits=[Edit(S + "forget.cpp",
                    'if (is_host_known(id)) return refused(',
                    'if (is_host_known(id) && !SKEP_PLANTED("forget-while-it-answers")) return refused('),
               Edit(S + "forget.cpp",
                    'if (silence < least_silence) {',
                    'if (silence < least_silence && !SKEP_PLANTED("forget-while-it-answers")) {')]),
    Bug("forget-while-agents-are-connected",
        why="A host whose agents are connected lives, however silent it is: forgetting it would kill their builds.",
        seen="a host is forgotten while an agent there is connected to its controller",
        edits=[Edit(S + "forget.cpp",
                    'if (connected.empty()) return given_up;',
                    'if (SKEP_PLANTED("forget-while-agents-are-connected"))\n'
                    '    given_up.insert(given_up.end(), connected.begin(), connected.end());\n'
                    '  if (connected.empty() || SKEP_PLANTED("forget-while-agents-are-connected")) return given_up;')]),
    Bug("given-up-not-met",
        why="What was given up and comes back with its host after all is destroyed.",
        seen="a forgotten host answers again, and what runs there is told nothing until its lease ends",
        edits=[Edit(S + "forget.cpp",
                    'if (!e.is_gone_on_host || report.state == ExecutorState::gone) return;',
                    'if (!e.is_gone_on_host || report.state == ExecutorState::gone ||\n'
                    '      SKEP_PLANTED("given-up-not-met"))\n'
                    '    return;')]),
    Bug("pause-ignored",
        why="While launching is paused nothing is launched.",
        seen="an executor is planned while launching is paused",
        edits=[Edit(S + "plan.cpp",
                    'return !s_.is_paused && std::any_of(',
                    'return (!s_.is_paused || SKEP_PLANTED("pause-ignored")) && std::any_of(')]),
    Bug("quieting-down-ignored",
        why="A controller that prepares for its shutdown gets nothing new.",
        seen="executors are launched for a controller that quiets down, or a kick ends the quiet",
        edits=[Edit(S + "demand.cpp",
                    'if (item.is_stopping || is_quieting_down_) return;',
                    'if ((item.is_stopping || is_quieting_down_) && !SKEP_PLANTED("quieting-down-ignored")) return;')]),
]

EVERY_JOB_RUNS = [
    Bug("label-match-wrong",
        why="An item gets an executor that satisfies its label: here any label that it names will do.",
        seen="executors are launched that their item cannot use; it never runs",
        edits=[Edit(S + "demand.cpp",
                    'expression == nullptr ? entry.value->takes_unlabelled : expression->matches(entry.labels);',
                    'expression == nullptr               ? entry.value->takes_unlabelled\n'
                    '        : !SKEP_PLANTED("label-match-wrong") ? expression->matches(entry.labels)\n'
                    '                                             : [&] {\n'
                    '            const std::vector<std::string> atoms = expression->atoms();\n'
                    '            return std::any_of(atoms.begin(), atoms.end(), [&](const std::string& atom) {\n'
                    '              return entry.labels.contains(atom);\n'
                    '            });\n'
                    '          }();')]),
    Bug("resume-taken-for-demand",
        why="An item that waits for one node by its name, to resume there, asks for no new executor.",
        seen="executors are launched and opened for an item whose label none of their nodes has",
        edits=[Edit(S + "demand.cpp",
                    'if (is_match) found.push_back(i);\n  }',
                    'if (is_match) found.push_back(i);\n  }\n'
                    '  if (SKEP_PLANTED("resume-taken-for-demand") && found.empty() && expression != nullptr) {\n'
                    '    for (std::size_t i : order_) {\n'
                    '      if (serves(*entries_[i].value, controller)) found.push_back(i);\n'
                    '    }\n'
                    '  }')]),
    Bug("session-change-missed",
        why="A restart of a controller is noticed: here all it says afterwards is taken for old.",
        seen="after a restart of a controller its jobs never run, and it is read without a pause",
        edits=[Edit(S + "controllers.cpp",
                    'if (started <= c.session_seen) return false;',
                    'if (started <= c.session_seen || SKEP_PLANTED("session-change-missed")) return false;')]),
    Bug("unseen-host-covers-for-ever",
        why="What comes on a host that was lost no longer stands for a job after a grace.",
        seen="a host dies while it starts an executor, and the job never runs though other hosts have room",
        edits=[Edit(S + "plan.cpp",
                    'const bool is_unseen = host == nullptr ||',
                    'const bool is_unseen = SKEP_PLANTED("unseen-host-covers-for-ever") ? false\n'
                    '                           : host == nullptr ||')]),
    Bug("slow-start-scaled-down",
        why="What starts within its deadlines is waited for. As where a slow start is mistaken for idle.",
        seen="an executor that needs more than ten seconds to start is destroyed while its job waits",
        edits=[Edit(S + "joining.cpp",
                    'const bool is_started = e.state() == ExecutorState::joining && !e.is_resuming;',
                    'if (SKEP_PLANTED("slow-start-scaled-down") && !e.is_resuming) {\n'
                    '    const Instant over = e.planned_at + seconds(10);\n'
                    '    if (now >= over) return finish(e, "unused: idle");\n'
                    '    wake(e, over);\n'
                    '  }\n'
                    '  const bool is_started = e.state() == ExecutorState::joining && !e.is_resuming;')]),
    Bug("breaker-never-closes",
        why="A host where launches failed is tried again after a while.",
        seen="three launches fail on each host, the cause goes away, and the jobs never run",
        edits=[Edit(S + "plan.cpp",
                    'if (!breaker->second.refuses(s_.now, coming)) continue;',
                    'const bool is_shut = SKEP_PLANTED("breaker-never-closes") && breaker->second.is_open;\n'
                    '    if (!is_shut && !breaker->second.refuses(s_.now, coming)) continue;')]),
]

STORMS_AND_SECRETS = [
    Bug("no-back-off",
        why="After a failed launch the next one waits longer each time.",
        seen="a controller refuses every node, and is asked as often as the creation rate allows",
        edits=[Edit(S + "executors.cpp",
                    'c->launch_retries[e.record.template_name].note_failure(',
                    'if (!SKEP_PLANTED("no-back-off")) c->launch_retries[e.record.template_name].note_failure(')]),
    Bug("disk-full-storm",
        why="A host whose disk is full still destroys, and gets no new order at once. As where disk full means that "
            "instances are created again and again and none is deleted.",
        seen="orders to a host whose records fail come without a pause, and it destroys nothing meanwhile",
        edits=[Edit(A + "pace.cpp",
                    'executor.is_record_due = true;\n  executor.record_retry_at = now + record_retry;',
                    'executor.is_record_due = true;\n  executor.record_retry_at = now + record_retry;\n'
                    '  if (SKEP_PLANTED("disk-full-storm"))\n'
                    '    executor.retry_at = executor.record_retry_at + milliseconds(1);'),
               Edit(S + "executors.cpp",
                    'is_hosts_fault && host != nullptr) {',
                    'is_hosts_fault && host != nullptr && !SKEP_PLANTED("disk-full-storm")) {'),
               Edit(S + "plan.cpp",
                    'if (retry != c_.launch_retries.end() && retry->second.failures > 0) {',
                    'if (!SKEP_PLANTED("disk-full-storm") && retry != c_.launch_retries.end() &&\n'
                    '      retry->second.failures > 0) {')]),
    Bug("secret-in-scheduler-log",
        why="No secret is in a log.",
        seen="a log line of the scheduler holds the secret of a node",
        edits=[Edit(S + "joining.cpp",
                    'e->secret = *event.secret;',
                    'e->secret = *event.secret;\n'
                    '    if (SKEP_PLANTED("secret-in-scheduler-log"))\n'
                    '      say(Level::info, "node created", {{"executor", e->id().text}, {"answer", e->secret}});')]),
    Bug("secret-in-agentd-log",
        why="No secret is in a log.",
        seen="a log line of agentd holds the secret of a ticket",
        edits=[Edit(A + "orders.cpp",
                    'explain(Level::info, "executor ordered", order.spec.id);',
                    'explain(Level::info,\n'
                    '          SKEP_PLANTED("secret-in-agentd-log") ? "executor ordered with " + order.ticket.secret\n'
                    '                                               : std::string("executor ordered"),\n'
                    '          order.spec.id);')]),
]

VERSIONS = [
    Bug("version-not-there",
        why="An order names only a version that its host reports: here the place is looked for by the bare name.",
        seen="a launch on a host that never said it has that image",
        edits=[Edit(S + "plan.cpp",
                    's_.placements.queue(index, s_.variant(index, reference), s_.views, policy_).best();',
                    's_.placements.queue(index, SKEP_PLANTED("version-not-there") ? s_.templates[index]\n'
                    '                                        : s_.variant(index, reference), s_.views, policy_).best();')]),
    Bug("rollout-not-recorded",
        why="That a version is tried is on record before the first launch of it: a later leader must know.",
        seen="a launch of a version while the record says that hosts still fetch it",
        edits=[Edit(S + "images.cpp",
                    'emit(RecordImage{image});\n  const bool is_bad',
                    'if (!SKEP_PLANTED("rollout-not-recorded")) emit(RecordImage{image});\n  const bool is_bad')]),
    Bug("bad-version-goes-on",
        why="A version that never joins stops by itself, after so many starts as were to be risked.",
        seen="it is started again and again",
        edits=[Edit(S + "images.cpp",
                    'if (verdict->is_worse) return become',
                    'if (verdict->is_worse && !SKEP_PLANTED("bad-version-goes-on")) return become'),
               Edit(S + "rollout.cpp",
                    'if (!is_under_way(image)) return true;',
                    'if (!is_under_way(image) || SKEP_PLANTED("bad-version-goes-on")) return true;')]),
    Bug("old-version-stays",
        why="Idle executors of a version that is not wanted are replaced.",
        seen="one waits in reserve for ever",
        edits=[Edit(S + "plan.cpp",
                    'if (s_.images.empty() || s_.is_paused) return;',
                    'if (s_.images.empty() || s_.is_paused || SKEP_PLANTED("old-version-stays")) return;')]),
    Bug("rollout-ends-builds",
        why="A rollout ends no build: an executor of the version before goes when its build is over.",
        seen="a sandbox is destroyed in which a build runs",
        edits=[Edit(S + "images.cpp",
                    'is_images_due_ = true;\n  replan();\n}\n\nvoid LogicState::advance_image(',
                    'is_images_due_ = true;\n  replan();\n'
                    '  if (SKEP_PLANTED("rollout-ends-builds") && state == RolloutState::rolling) {\n'
                    '    for (auto& [id, e] : executors)\n'
                    '      if (e.state() == ExecutorState::busy) build_over(e, "used: replaced");\n'
                    '  }\n}\n\nvoid LogicState::advance_image(')]),
]

BUGS = (RECORDS + EPOCHS + UNKNOWN_IS_NEVER_EMPTY + CAPACITY + ONE_BUILD + BUILDS_ARE_NOT_KILLED + NOTHING_IS_LEFT +
        OPERATORS + EVERY_JOB_RUNS + STORMS_AND_SECRETS + VERSIONS)
