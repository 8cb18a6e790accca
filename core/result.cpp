#include "core/result.h"

namespace skep {

const char* to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::generic:
      return "generic";
    case ErrorCode::invalid_input:
      return "invalid_input";
    case ErrorCode::not_found:
      return "not_found";
    case ErrorCode::conflict:
      return "conflict";
    case ErrorCode::stale_epoch:
      return "stale_epoch";
    case ErrorCode::permission_denied:
      return "permission_denied";
    case ErrorCode::unauthenticated:
      return "unauthenticated";
    case ErrorCode::unavailable:
      return "unavailable";
    case ErrorCode::timed_out:
      return "timed_out";
    case ErrorCode::malformed_reply:
      return "malformed_reply";
    case ErrorCode::too_large:
      return "too_large";
    case ErrorCode::out_of_resources:
      return "out_of_resources";
    case ErrorCode::unsupported:
      return "unsupported";
  }
  return "generic";
}

}  // namespace skep
