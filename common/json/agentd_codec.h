// JSON form of core/protocol/agentd_api.h. Unknown fields are ignored; a missing or wrong one is named.
// Durations are whole milliseconds (`*_ms`), sizes bytes, processors thousandths. Thread-safe.
#pragma once

#include "common/json/json.h"
#include "core/protocol/agentd_api.h"

namespace skep::json {

Json encode(const Resources& resources);
Json encode(const ExecutorSpec& spec);
Json encode(const ExecutorOrder& order);  // holds the ticket's secret: for the wire only
Json encode(const ExecutorReport& report);
Json encode(const HostReport& report);
Json encode(const LeaseRenewal& renewal);
Json encode(const LeaseReply& reply);
Json encode(const HostAnnouncement& announcement);
/// {"error":{"code","outcome","message","hint"},"epoch":E}
Json encode_error(const Error& error, Epoch epoch_seen = 0);

Result<Resources> decode_resources(const Json& in);
Result<ExecutorSpec> decode_executor_spec(const Json& in);
Result<ExecutorOrder> decode_executor_order(const Json& in);
Result<ExecutorReport> decode_executor_report(const Json& in);
Result<HostReport> decode_host_report(const Json& in);
Result<LeaseRenewal> decode_lease_renewal(const Json& in);
Result<LeaseReply> decode_lease_reply(const Json& in);
Result<HostAnnouncement> decode_host_announcement(const Json& in);
/// nullopt when the body holds no error of ours.
std::optional<Error> decode_error(const Json& in);

}  // namespace skep::json
