// Durable records of agentd as text for the state store. They hold no secret: a ticket is never part of an
// intent. Unknown fields are ignored, so that a newer record can be read by the release before it.
#pragma once

#include <string>

#include "agentd/core/facts.h"
#include "core/result.h"

namespace skep::agentd {

inline constexpr const char* table_intents = "intents";  // key: executor id
inline constexpr const char* table_meta = "meta";        // "epoch", "drain"

std::string encode_intent(const IntentRecord& record);
Result<IntentRecord> decode_intent(const std::string& text);

struct DrainRecord {
  bool is_draining = false;
  std::string reason;
};
std::string encode_drain(const DrainRecord& record);
Result<DrainRecord> decode_drain(const std::string& text);

}  // namespace skep::agentd
