// SessionCopy: a conversation outside the pool: its tokens and the KV of its leading blocks. What a session file holds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"

namespace millrace::flow {

struct SessionBlock {
  uint32_t kv_groups = 0;      // bit g: KvGroup g
  std::vector<uint8_t> bytes;  // [KvGroups that are there, ascending; block_bytes]
};

struct SessionCopy {
  std::string cache_salt;
  std::vector<TokenId> tokens;
  std::vector<SessionBlock> blocks;  // [<= tokens / block_tokens]
};

}  // namespace millrace::flow
