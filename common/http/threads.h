// cpprest's process-wide thread pool: small, and started once before its first use.
#pragma once

namespace skep::http {
void initialize_threads();
}
