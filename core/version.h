#pragma once

namespace skep {
inline constexpr const char* skep_version = "0.1.0";
}
