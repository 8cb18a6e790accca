// Durable records of the scheduler as text for the state store. Unknown fields are ignored, so that a newer
// record can be read by the release before it.
#pragma once

#include <string>

#include "core/result.h"
#include "scheduler/core/actions.h"

namespace skep::scheduler {

inline constexpr const char* table_executors = "executors";
inline constexpr const char* table_drains = "drains";
inline constexpr const char* table_images = "images";  // by name: version and rollout
inline constexpr const char* table_meta = "meta";      // epoch, pause

std::string encode_record(const ExecutorRecord& record);
Result<ExecutorRecord> decode_record(const std::string& text);
std::string encode_image(const ImageVersions& image);
Result<ImageVersions> decode_image(const std::string& text);
std::string encode_audit(const Audit& audit);

}  // namespace skep::scheduler
