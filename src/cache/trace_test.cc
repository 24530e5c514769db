// Public traces replayed against the figures of SERVING_CORE.md section 8: G1 (fragmentation) and G2 (prefix hits).
// Without the trace folder the tests are skipped.
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <list>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "cache/kv_cache.h"

namespace millrace::cache {
namespace {

constexpr const char* kTraces = MILLRACE_SOURCE_DIR "/../shared/data/traces";

bool no_traces() { return !is_directory(kTraces); }

std::string trace(const std::string& name) {
  Result<std::string> text = read_file(std::string(kTraces) + "/" + name, uint64_t{1} << 26);
  return text.ok() ? std::move(text).value() : std::string();
}

struct TraceRequest {
  uint32_t n_tokens = 0;
  std::vector<TokenId> ids;  // one per 512-token block, the last may be partial
};

std::vector<TraceRequest> mooncake(const std::string& name) {
  std::vector<TraceRequest> out;
  std::string text = trace(name);
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find('\n', begin), text.size());
    Result<Json> line = parse_json(std::string_view(text).substr(begin, end - begin));
    begin = end + 1;
    if (!line.ok()) continue;
    TraceRequest request;
    request.n_tokens = static_cast<uint32_t>(line->find("input_length")->as_int());
    for (const Json& id : line->find("hash_ids")->as_array()) request.ids.push_back(static_cast<TokenId>(id.as_int()));
    out.push_back(std::move(request));
  }
  return out;
}

// G2 "pool": one token here stands for one 512-token block. Only full blocks are published, and the block with the last
// input token is never matched.
uint64_t pool_hits(const std::vector<TraceRequest>& requests, uint32_t n_blocks) {
  constexpr uint32_t kBlock = 512;
  flow::KvGeometry kv{.block_tokens = 1, .n_blocks = n_blocks, .block_bytes = 1, .max_len = 1 << 20, .groups = {{}}};
  KvCache cache(kv, {});
  uint64_t hits = 0;
  uint64_t step = 0;
  std::vector<flow::BlockDelta> deltas;
  std::vector<flow::CopyOp> copies;
  for (const TraceRequest& request : requests) {
    SeqBlocks seq;
    TokenView tokens{.prompt = request.ids, .outputs = {}};
    uint32_t matched = cache.match(seq, tokens, (request.n_tokens - 1) / kBlock);
    hits += matched;
    deltas.clear();
    cache.extend(seq, matched, static_cast<uint32_t>(request.ids.size()) - matched, ++step,
                 {.blocks = &deltas, .copies = &copies});
    cache.publish(seq, tokens, request.n_tokens / kBlock);
    cache.settle();
    cache.retire(step);
    cache.release(seq);
  }
  return hits;
}

// G2 "index": an independent least-recently-used set of block ids, touched and inserted tail first, evicted after.
uint64_t index_hits(const std::vector<TraceRequest>& requests, size_t capacity) {
  std::list<TokenId> order;  // most recently used first
  std::unordered_map<TokenId, std::list<TokenId>::iterator> known;
  uint64_t hits = 0;
  for (const TraceRequest& request : requests) {
    size_t matched = 0;
    while (matched < request.ids.size() && known.contains(request.ids[matched])) ++matched;
    hits += matched;
    for (size_t i = request.ids.size(); i-- > 0;) {
      auto found = known.find(request.ids[i]);
      if (found != known.end()) order.erase(found->second);
      order.push_front(request.ids[i]);
      known[request.ids[i]] = order.begin();
    }
    while (order.size() > capacity) {
      known.erase(order.back());
      order.pop_back();
    }
  }
  return hits;
}

struct Row {
  uint32_t capacity;
  uint64_t index;
  uint64_t pool;
};

void check_rows(const std::string& name, std::span<const Row> rows) {
  std::vector<TraceRequest> requests = mooncake(name);
  for (const Row& row : rows) {
    EXPECT_EQ(index_hits(requests, row.capacity), row.index) << name << " with " << row.capacity << " blocks";
    EXPECT_EQ(pool_hits(requests, row.capacity), row.pool) << name << " with " << row.capacity << " blocks";
  }
}

TEST(CacheTrace, PrefixHitsOfConversationsAreExact) {
  if (no_traces()) GTEST_SKIP() << "SKIP: trace folder ../shared/data/traces not found";
  constexpr Row kRows[] = {{300'000, 105'710, 105'592}, {100'000, 104'924, 104'926}, {50'000, 102'290, 102'723},
                           {30'000, 93'978, 95'336},    {10'000, 61'046, 62'001},    {5'000, 32'260, 34'185},
                           {3'000, 18'850, 19'398},     {1'000, 12'847, 12'988}};
  check_rows("mooncake_conversation.jsonl", kRows);
}

TEST(CacheTrace, PrefixHitsOfSyntheticRequestsAreExact) {
  if (no_traces()) GTEST_SKIP() << "SKIP: trace folder ../shared/data/traces not found";
  constexpr Row kRows[] = {{300'000, 77'953, 77'740}, {100'000, 77'953, 77'740}, {50'000, 77'953, 77'740},
                           {30'000, 76'077, 76'350},  {10'000, 51'669, 52'950},  {5'000, 34'043, 34'598},
                           {3'000, 23'226, 23'727},   {1'000, 10'252, 10'366}};
  check_rows("mooncake_synthetic.jsonl", kRows);
}

// G1: blocks held at every output token of the first 2,000 conversations.
TEST(CacheTrace, FragmentationIsExact) {
  if (no_traces()) GTEST_SKIP() << "SKIP: trace folder ../shared/data/traces not found";
  constexpr std::pair<uint32_t, uint64_t> kAllocated[] = {{8, 651'519'896},  {16, 653'638'912},  {32, 657'868'128},
                                                          {64, 666'369'152}, {128, 683'564'800}, {256, 717'298'176}};
  std::string text = trace("azure_conv.csv");
  std::vector<std::pair<uint32_t, uint32_t>> rows;  // prompt and output tokens
  size_t begin = text.find('\n') + 1;
  while (rows.size() < 2000 && begin < text.size()) {
    size_t first = text.find(',', begin) + 1;
    size_t second = text.find(',', first) + 1;
    size_t end = text.find('\n', second);
    uint32_t prompt = 0;
    uint32_t output = 0;
    std::from_chars(text.data() + first, text.data() + second - 1, prompt);
    std::from_chars(text.data() + second, text.data() + end, output);
    rows.emplace_back(prompt, output);
    begin = end + 1;
  }
  for (auto [block_tokens, want] : kAllocated) {
    flow::KvGeometry kv{.block_tokens = block_tokens, .n_blocks = 1, .block_bytes = 1, .max_len = 1, .groups = {{}}};
    uint64_t allocated = 0;
    for (auto [prompt, output] : rows) {
      for (uint32_t n = prompt + 1; n <= prompt + output; ++n) {
        allocated += uint64_t{max_blocks_of_sequence(kv, n, 1)} * block_tokens;
      }
    }
    EXPECT_EQ(allocated, want) << "B = " << block_tokens;
  }
}

}  // namespace
}  // namespace millrace::cache
