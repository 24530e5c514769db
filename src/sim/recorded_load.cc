#include "sim/recorded_load.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/checksum.h"
#include "base/macros.h"
#include "engine/event_reader.h"
#include "sim/replay.h"

namespace millrace::sim {
namespace {

using Answer = std::pair<flow::RequestId, uint32_t>;  // request, fork

class TokenCounts final : public flow::EventSink {
 public:
  void deliver(std::span<flow::TokenEvent> events) override {
    for (const flow::TokenEvent& event : events) {
      if (event.token != kNoToken) ++n_tokens_[{event.request, event.fork}];
    }
  }
  uint32_t of(flow::RequestId id, uint32_t fork) const {
    auto found = n_tokens_.find({id, fork});
    return found == n_tokens_.end() ? 0 : found->second;
  }

 private:
  std::map<Answer, uint32_t> n_tokens_;
};

// One per block; its content stands for the scope, the block's tokens and all before them.
std::vector<Piece> pieces_of(const flow::GenerateRequest& ask, uint32_t block_tokens) {
  std::vector<Piece> out;
  uint64_t content = ask.use_prefix_cache ? ask.scope : unique_content(ask.id);
  std::vector<uint64_t> words;
  for (size_t begin = 0; begin < ask.prompt.size(); begin += block_tokens) {
    size_t n = std::min<size_t>(block_tokens, ask.prompt.size() - begin);
    words.assign({content, n});
    for (size_t i = 0; i < n; ++i) words.push_back(static_cast<uint32_t>(ask.prompt[begin + i]));
    content = checksum64({reinterpret_cast<const uint8_t*>(words.data()), words.size() * sizeof(uint64_t)});
    out.push_back({.content = content, .n_tokens = static_cast<uint32_t>(n)});
  }
  return out;
}

void add_answers(const flow::GenerateRequest& ask, uint32_t block_tokens, const TokenCounts& counts, Workload& out) {
  SimRequest request{.arrival = ask.arrival,
                     .tenant = ask.tenant,
                     .weight = ask.weight,
                     .band = ask.band,
                     .deadline = ask.deadline > 0 ? std::max<Tick>(ask.deadline - ask.arrival, 1) : 0,
                     .max_tokens = ask.sampling.max_tokens,
                     .prompt = pieces_of(ask, block_tokens)};
  for (uint32_t fork = 0; fork < ask.n; ++fork) {
    request.n_output = counts.of(ask.id, fork);
    if (request.n_output > 0) out.requests.push_back(request);
  }
}

}  // namespace

Result<Workload> recorded_load(std::span<const uint8_t> log) {
  TokenCounts counts;
  ReplayReport report = TRY(replay(log, &counts));
  if (report.difference) {
    return Error{ErrorCode::kBadFile, fmt::format("event log: it is not of this version: {}", *report.difference), ""};
  }
  engine::EventReader reader = TRY(engine::EventReader::open(log));
  const uint32_t block_tokens = reader.setup().options.kv.block_tokens;
  Workload out;
  while (true) {
    std::optional<engine::RecordedStep> step = TRY(reader.next());
    if (!step) break;
    for (const engine::Message& message : step->messages) {
      if (message.request) add_answers(*message.request, block_tokens, counts, out);
    }
  }
  if (out.requests.empty()) return Error{ErrorCode::kBadFile, "event log: no request got a token", ""};
  std::ranges::stable_sort(out.requests, {}, &SimRequest::arrival);
  Tick first = out.requests.front().arrival;
  for (SimRequest& request : out.requests) request.arrival -= first;
  return out;
}

}  // namespace millrace::sim
