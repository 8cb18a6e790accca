// Assertions that stay on in release. Only for what we control: never for what the network, Jenkins, a driver
// or an operator can cause.
#pragma once

namespace skep {
[[noreturn]] void check_failed(const char* condition, const char* file, int line) noexcept;
}  // namespace skep

#define SKEP_ASSERT(condition) \
  ((condition) ? static_cast<void>(0) : ::skep::check_failed(#condition, __FILE__, __LINE__))
