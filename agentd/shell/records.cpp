#include "agentd/shell/records.h"

#include <exception>

#include "common/json/agentd_codec.h"

namespace skep::agentd {

using json::Json;

std::string encode_intent(const IntentRecord& record) {
  return json::dump(Json{{"spec", json::encode(record.spec)},
                         {"epoch", record.epoch},
                         {"lease_ms", to_ms(record.lease)},
                         {"state", std::string(to_string(record.state))},
                         {"handle_version", record.handle.version},
                         {"handle", record.handle.blob},
                         {"ticket_attempt", record.ticket_attempt},
                         {"is_busy", record.is_busy},
                         {"was_connected", record.was_connected},
                         {"created_at_ms", record.created_at.ms_since_epoch},
                         {"gone_at_ms", record.gone_at.ms_since_epoch},
                         {"message", record.message}});
}

Result<IntentRecord> decode_intent(const std::string& text) {
  auto parsed = json::parse_strict(text);
  if (!parsed) return parsed.error();
  const Json& in = *parsed;
  try {
    IntentRecord record;
    auto spec = json::decode_executor_spec(in.at("spec"));
    if (!spec) return spec.error();
    record.spec = std::move(*spec);
    record.epoch = in.at("epoch").get<Epoch>();
    record.lease = milliseconds(in.at("lease_ms").get<std::int64_t>());
    const auto state = intent_state_from(in.at("state").get<std::string>());
    if (!state) {
      return Error::failed(ErrorCode::malformed_reply,
                           "the record of " + record.spec.id.text + " has an unknown state");
    }
    record.state = *state;
    record.handle.version = in.value("handle_version", 1);
    record.handle.blob = in.value("handle", std::string());
    record.ticket_attempt = in.value("ticket_attempt", std::uint32_t{1});
    record.is_busy = in.value("is_busy", false);
    record.was_connected = in.value("was_connected", false);
    record.created_at.ms_since_epoch = in.value("created_at_ms", std::int64_t{0});
    record.gone_at.ms_since_epoch = in.value("gone_at_ms", std::int64_t{0});
    record.message = in.value("message", std::string());
    return record;
  } catch (const std::exception& e) {
    return Error::failed(ErrorCode::malformed_reply,
                         std::string("a stored intent cannot be read: ") + e.what());
  }
}

std::string encode_drain(const DrainRecord& record) {
  return json::dump(Json{{"is_draining", record.is_draining}, {"reason", record.reason}});
}

Result<DrainRecord> decode_drain(const std::string& text) {
  auto parsed = json::parse_strict(text);
  if (!parsed) return parsed.error();
  try {
    return DrainRecord{parsed->at("is_draining").get<bool>(), parsed->value("reason", std::string())};
  } catch (const std::exception& e) {
    return Error::failed(ErrorCode::malformed_reply,
                         std::string("the stored drain cannot be read: ") + e.what());
  }
}

}  // namespace skep::agentd
