// A client of one Consul agent's HTTP API (v1): services with a TTL check, and blocking queries. Facts about
// the protocol are from Consul 1.8.7, seen on a real one.
//
// Errors never mean "none": whatever is not a complete reply in the expected form (a refusal, no leader, a
// missing index, an odd field) is an error, and the caller keeps what it knew. The token goes out as
// X-Consul-Token and into no message. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/consul/consul_access.h"
#include "common/http/http_client.h"

namespace skep::consul {

/// Consul refuses longer values and more keys than these.
inline constexpr std::size_t max_meta_value_bytes = 512;
inline constexpr std::size_t max_meta_keys = 64;

struct Registration {
  std::string id;  // stable: registering again replaces
  std::string service;
  std::string address;
  int port = 0;
  std::map<std::string, std::string> meta;  // keys [A-Za-z0-9_-]; values that are too long are left out
  Duration ttl = seconds(15);
  Duration remove_after = minutes(10);  // critical for so long: Consul removes the entry; at least a minute
};

enum class Health { passing, warning, critical };

struct Instance {
  std::string id;
  std::string address;  // of the service, else of its Consul node
  int port = 0;
  std::map<std::string, std::string> meta;
  Health health = Health::passing;  // the worst of its checks and its node's
  std::uint64_t modify_index = 0;
};

struct InstanceList {
  std::uint64_t index = 0;  // to wait on; may be 0 when Consul says so
  std::vector<Instance> instances;
};

/// What to ask with after an answer: 0 (at once, from the start) when the index went backwards or is below 1.
constexpr std::uint64_t next_index(std::uint64_t asked, std::uint64_t answered) {
  return answered < 1 || answered < asked ? 0 : answered;
}

/// A key of the KV store. Its number is kept in Consul's Flags, which need no decoding.
struct Key {
  std::uint64_t number = 0;
  std::string session;  // that holds it as a lock; empty: nobody
  std::uint64_t modify_index = 0;
};

struct KeyReading {
  std::uint64_t index = 0;  // to wait on
  std::optional<Key> key;   // nullopt: seen absent
};

Result<KeyReading> decode_key(const http::Reply& reply);
Result<InstanceList> decode_instances(const http::Reply& reply);

class Client {
 public:
  /// Error invalid_input for an unusable address, CA file or token file.
  static Result<std::unique_ptr<Client>> make(const Access& access);
  Client(std::unique_ptr<http::Client> http, std::string token);

  Result<void> register_service(const Registration& registration);
  Result<void> deregister_service(const std::string& id, Duration limit);
  /// False: Consul has no such check (any more): register again.
  Result<bool> pass_check(const std::string& service_id);
  /// All instances, passing or not. Waits up to `wait` for something newer than `index`; 0: answers at once.
  Result<InstanceList> read_service(const std::string& service, std::uint64_t index, Duration wait);

  /// A session that ends when that service's check, or its node's, fails. An error while the check has not
  /// reached the catalogue yet. What it held can be acquired again `lock_delay` later.
  Result<std::string> create_session(const std::string& name, const std::string& service_id,
                                     Duration lock_delay);
  Result<void> destroy_session(const std::string& session);
  /// False: somebody else holds it, or did within the lock delay.
  Result<bool> acquire(const std::string& key, const std::string& session, const std::string& value);
  Result<KeyReading> read_key(const std::string& key, std::uint64_t index, Duration wait);
  /// Writes only if the key is as it was read (0: only if it is absent); false: somebody else was first.
  Result<bool> put_if_unchanged(const std::string& key, std::uint64_t number, std::uint64_t modify_index);

  /// Ends running calls and refuses later ones.
  void cancel() { http_->cancel(); }

 private:
  Result<http::Reply> call(http::Request request, Duration limit);
  Result<bool> put(const std::string& target, std::string body, const std::string& what);
  std::unique_ptr<http::Client> http_;
  std::string token_;
};

}  // namespace skep::consul
