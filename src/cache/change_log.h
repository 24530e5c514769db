// ChangeLog: blocks that came to nodes of the trie or left them, in order, since it was last emptied.
//  1. A name is a hash of the name before it and the block's tokens, from the name of the scope on. A node that returns
//     with the same prefix has the same name.
//  2. Nodes of sequences with a window of their own are left out: other requests find nothing there.
// Thread: engine.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace millrace::cache {

struct BlockChange {
  bool stored = false;  // else removed
  bool at_root = false;
  uint32_t kv_group = 0;
  uint32_t scope = 0;
  uint64_t name = 0;
  uint64_t parent = 0;     // unless at_root
  size_t first_token = 0;  // of stored ones: index into ChangeLog::tokens, block_tokens of them
};

struct ChangeLog {
  std::vector<BlockChange> changes;
  std::vector<TokenId> tokens;
  void clear() {
    changes.clear();
    tokens.clear();
  }
};

}  // namespace millrace::cache
