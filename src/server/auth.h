// Keys: who is calling, from Authorization: Bearer, x-api-key or api-key. Comparison takes the same time wherever the
// bytes differ.
// Thread: any (immutable).
#pragma once

#include <cstdint>
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
  uint32_t tenant = 0;  // 1 + index of the key; 0 without keys
  bool admin = false;
};

class Keys {
 public:
  // admin_always: admin routes need an admin key even when no key is set at all (the bind is not loopback).
  Keys(std::vector<std::string> keys, std::vector<std::string> admin_keys, bool metrics_auth, bool admin_always);

  // kInvalidApiKey (401) or kAdminKeyRequired (403).
  Result<Principal> check(const HttpRequest& request, AuthClass wanted) const;

 private:
  std::vector<std::string> keys_;
  std::vector<std::string> admin_keys_;
  bool metrics_auth_;
  bool admin_always_;
};

// Same time for any two texts of these lengths.
bool equal_constant_time(std::string_view a, std::string_view b);

}  // namespace millrace::server
