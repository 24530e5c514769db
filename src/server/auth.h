// Keys: who is calling, from Authorization: Bearer, x-api-key or api-key. Comparison takes the same time wherever the
// bytes differ.
// Thread: any (const members).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "server/http_message.h"

namespace millrace::server {

// What a route asks of its caller.
enum class AuthClass : uint8_t {
  kOpen,     // probes, /version
  kMetrics,  // open unless metrics_auth
  kKey,      // a key, when any is set
  kAdmin,    // an admin key, when any key is set or the bind is not loopback
};

struct Principal {
  uint32_t tenant = 0;  // number of the key, from 1; 0 without keys
  bool admin = false;
  bool gateway = false;  // may name the tenant of a request
};

class Keys {
 public:
  // admin_always: admin routes need an admin key even when no key is set at all (the bind is not loopback). The last
  // n_gateway of `keys` are those of gateways.
  Keys(const std::vector<std::string>& keys, const std::vector<std::string>& admin_keys, bool metrics_auth,
       bool admin_always, size_t n_gateway = 0);
  // Other keys under the same rules. A key that stays keeps its number; numbers of others are not used again.
  Keys replaced(const std::vector<std::string>& keys, const std::vector<std::string>& admin_keys,
                size_t n_gateway) const;

  // kInvalidApiKey (401) or kAdminKeyRequired (403).
  Result<Principal> check(const HttpRequest& request, AuthClass wanted) const;

 private:
  struct Known {
    std::string key;
    Principal principal;
  };
  void add(const std::vector<std::string>& keys, bool admin, size_t n_gateway);
  const Known* find(std::string_view key) const;

  std::vector<Known> known_;
  std::map<std::string, uint32_t> numbers_;  // of every key there ever was
  bool metrics_auth_;
  bool admin_always_;
};

// Same time for any two texts of these lengths.
bool equal_constant_time(std::string_view a, std::string_view b);

}  // namespace millrace::server
