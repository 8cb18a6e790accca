#include "core/lifecycle/lifecycle.h"

namespace skep {
namespace {

using S = ExecutorState;

struct Row {
  S state;
  std::string_view name;
  std::initializer_list<S> next;
};

// Forward skips exist because we look at intervals: an executor may join between two looks.
const std::array<Row, executor_state_count>& table() {
  static const std::array<Row, executor_state_count> rows{{
      {S::planned, "planned", {S::ordered, S::failed, S::destroying, S::gone}},
      {S::ordered,
       "ordered",
       {S::creating, S::booting, S::joining, S::idle, S::busy, S::failed, S::destroying, S::unknown}},
      {S::creating,
       "creating",
       {S::booting, S::joining, S::idle, S::busy, S::failed, S::destroying, S::unknown}},
      {S::booting, "booting", {S::joining, S::idle, S::busy, S::failed, S::destroying, S::unknown}},
      {S::joining, "joining", {S::idle, S::busy, S::finished, S::failed, S::destroying, S::unknown}},
      {S::idle, "idle", {S::busy, S::finished, S::failed, S::held, S::destroying, S::unknown}},
      {S::busy,
       "busy",
       {S::finished, S::failed, S::held, S::joining,
        S::unknown}},  // joining: a resume after a controller restart
      {S::finished, "finished", {S::destroying, S::held, S::unknown}},
      {S::destroying, "destroying", {S::gone, S::failed, S::unknown}},
      {S::gone, "gone", {}},
      {S::failed, "failed", {S::destroying, S::held, S::gone, S::unknown}},
      // Without a gate a held node takes a build like any other.
      {S::held, "held", {S::idle, S::busy, S::destroying, S::failed, S::unknown}},
      {S::unknown,
       "unknown",
       {S::ordered, S::creating, S::booting, S::joining, S::idle, S::busy, S::finished, S::destroying,
        S::gone, S::failed, S::held}},
  }};
  return rows;
}

const Row& row_of(S state) {
  return table()[static_cast<std::size_t>(state)];
}

}  // namespace

std::string_view to_string(ExecutorState state) {
  return row_of(state).name;
}

std::optional<ExecutorState> executor_state_from(std::string_view text) {
  for (const Row& row : table()) {
    if (row.name == text) return row.state;
  }
  return std::nullopt;
}

bool is_legal_step(ExecutorState from, ExecutorState to) {
  for (S next : row_of(from).next) {
    if (next == to) return true;
  }
  return false;
}

bool is_coming(ExecutorState state) {
  return state <= S::joining;
}

bool occupies_slot(ExecutorState state) {
  return state != S::gone;
}

}  // namespace skep
