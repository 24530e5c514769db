// KvEvent: what the prefix cache, or what lies below it, gained or lost, for routers that send a request where its
// prefix lies. Names are the engine's own: equal ones are equal prefixes within one process, and say nothing beyond it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"

namespace millrace::flow {

enum class KvEventKind : uint8_t { kStored, kRemoved, kCleared };

enum class KvMedium : uint8_t { kPool, kDisk };

struct KvEvent {
  KvEventKind kind = KvEventKind::kStored;
  KvMedium medium = KvMedium::kPool;  // kCleared: both
  uint32_t kv_group = 0;
  uint32_t window_tokens = 0;      // of the KvGroup; 0: its layers see everything
  std::vector<uint64_t> names;     // blocks; of kStored each the child of the one before
  std::optional<uint64_t> parent;  // kStored: of the first one; none at the root
  std::vector<TokenId> tokens;     // kStored: [names.size() * block_tokens]
  std::string cache_salt;          // kStored: only requests with it find these blocks
};

}  // namespace millrace::flow
