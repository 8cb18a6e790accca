// The scenarios of bench_core. Each prints nothing and returns what it measured; bench/run.py knows the
// goals.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "common/json/json.h"

namespace skep::bench {

struct Effort {
  int samples = 0;          // 0: the scenario's own number
  bool is_smoke = false;    // small sizes, once: only whether it works
  bool is_counted = false;  // run by callgrind, which collects inside of measured_...() alone
};

json::Json bench_full_pass(const Effort& effort);
json::Json bench_full_pass_unlimited(const Effort& effort);
json::Json bench_incremental(const Effort& effort);
json::Json bench_changed_hosts(const Effort& effort);
json::Json bench_poll(const Effort& effort);
json::Json bench_growth(const Effort& effort);
json::Json bench_memory(const Effort& effort);
json::Json bench_queue_reply(const Effort& effort);
json::Json bench_launches(const Effort& effort);

using Scenario = json::Json (*)(const Effort&);
inline const std::vector<std::pair<std::string, Scenario>> scenarios{
    {"full-pass", bench_full_pass},
    {"full-pass-unlimited", bench_full_pass_unlimited},
    {"incremental", bench_incremental},
    {"changed-hosts", bench_changed_hosts},
    {"poll", bench_poll},
    {"growth", bench_growth},
    {"memory", bench_memory},
    {"queue-reply", bench_queue_reply},
    {"launches", bench_launches}};

}  // namespace skep::bench
