// How skep-join and skep-join-fetch, which it starts, understand each other: the latter's exit code.
// Constants.
#pragma once

namespace skep::join {

inline constexpr const char* fetch_program = "skep-join-fetch";  // beside skep-join
inline constexpr int fetched = 0;
inline constexpr int fetch_failed = 1;
inline constexpr int fetch_may_be_tried_again = 75;  // EX_TEMPFAIL of sysexits.h

}  // namespace skep::join
