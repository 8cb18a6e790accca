// Pieces of linux_sandbox, each for a process with one thread that is in its new namespaces already.
#pragma once

#include <cerrno>
#include <string>

#include "core/result.h"
#include "linux/linux_sandbox.h"

namespace skep::posix_host::sandbox {

/// Of errno: permission_denied and unsupported where this kernel, or how it is set up, does not allow a step.
Error step_error(const std::string& step, int code = errno);

/// Everything that is mounted, up to and with the change of the root; as process 1 of its namespace. Of the
/// old root nothing is left in sight.
Result<void> enter_root(const Sandbox& sandbox);

/// Brings up the loopback of a network namespace of its own.
Result<void> bring_up_loopback();

/// Becomes the sandbox's user, where it has one, without capabilities and without a way to any; refuses
/// system calls that reach what namespaces do not part.
Result<void> drop_rights(const Sandbox& sandbox);

}  // namespace skep::posix_host::sandbox
