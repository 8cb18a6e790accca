#include "core/check.h"

#include <cstdio>
#include <cstdlib>

namespace skep {

void check_failed(const char* condition, const char* file, int line) noexcept {
  std::fprintf(stderr, "skep: broken assertion: %s (%s:%d)\n", condition, file, line);
  std::abort();
}

}  // namespace skep
