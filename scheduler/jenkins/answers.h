// What a controller's HTTP answers mean. Pure. Facts: tests/recordings 01, 02, 06, 13 and 14: every page and
// API reply of Jenkins itself carries X-Jenkins and X-Jenkins-Session; a starting controller, a wrong token
// and a proxy do not.
#pragma once

#include <string>

#include "common/http/http_types.h"
#include "core/result.h"

namespace skep::scheduler {

/// A read that is not understood leaves the world unknown. An order that was refused did not happen (failed,
/// try_again); one whose answer says nothing may have happened (unknown).
enum class Asked { read, order };

/// The error for an answer that is not the wanted one. `what` says what was being done, on which object. A
/// 403 names the missing permission (X-Required-Permission).
Error error_of(const http::Reply& reply, const std::string& what, Asked asked);

/// "Agent/Create" out of a 403; "" if it names none.
std::string missing_permission(const http::Reply& reply);

/// Jenkins itself says that there is no such thing: a proxy's 404 says nothing.
bool is_absent(const http::Reply& reply);

/// 200 with JSON of a controller, or an error with outcome unknown.
Result<void> check_json(const http::Reply& reply, const std::string& what);

/// 302 to the node's page or to the list of nodes, as Jenkins answers an order about a node that was carried
/// out.
Result<void> check_node_order(const http::Reply& reply, const std::string& what);

/// The secret out of the swarm plugin's answer to createSlave. conflict: the name exists. No secret: unknown,
/// since an older plugin creates the node and keeps the secret.
Result<std::string> read_created(const http::Reply& reply, const std::string& node);

}  // namespace skep::scheduler
