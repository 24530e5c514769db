// Lease: a session's hold on a published prefix until a time, so that its next turn finds it. LeaseBook: all of them.
//  1. A lease holds blocks as a sequence without a slot does; leases together hold at most the quota.
//  2. A lease ends by time, by a newer lease of its session, for the quota, when a running sequence or the head of the
//     list finds no other memory, or when the trie forgets its path.
// Thread: engine; changed by KvCache only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "cache/seq_blocks.h"

namespace millrace::cache {

struct LeaseAsk {
  std::string session;  // the client's name for it, unique within the tenant
  uint32_t tenant = 0;
  Tick expires = 0;  // engine clock
};

struct Lease {
  LeaseAsk ask;
  SeqBlocks kv;
};

struct LeaseBook {
  std::vector<Lease> leases;
  std::vector<uint32_t> refs;  // [n_blocks] leases that hold the block
  uint32_t n_blocks = 0;       // blocks with refs != 0
  uint32_t quota = 0;          // most n_blocks
};

}  // namespace millrace::cache
