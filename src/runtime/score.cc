// Scoring: chunked prefill with every position wanted.
#include "runtime/score.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/macros.h"

namespace millrace::runtime {

Result<Scorer> Scorer::create(const Setup& setup) {
  if (setup.model.desc().is_encoder()) return Error{ErrorCode::kUsage, "an encoder gives no logits", "MODEL"};
  std::vector<tensor::KvLayerSpec> layers = setup.model.kv_layers();
  flow::KvGeometry geometry = TRY(build_kv_geometry(layers, setup.kv_dtype));
  uint32_t blocks_each = (setup.max_len + geometry.block_tokens - 1) / geometry.block_tokens;
  geometry.max_len = setup.max_len;
  geometry.n_blocks = blocks_each * static_cast<uint32_t>(geometry.groups.size());
  RunnerSetup runner{.model = setup.model, .table = setup.table, .pool = setup.pool, .geometry = geometry};
  runner.kv_dtype = setup.kv_dtype;
  runner.max_rows = setup.chunk_tokens;
  runner.max_logit_rows = std::min<int64_t>(setup.chunk_tokens, 32);
  Scorer scorer(TRY(StepRunner::create(runner)));
  scorer.chunk_tokens_ = setup.chunk_tokens;
  scorer.window_ = setup.window_tokens;
  scorer.sinks_ = setup.sink_tokens;
  flow::BlockId next = 0;
  for (size_t g = 0; g < geometry.groups.size(); ++g) {
    std::vector<flow::BlockId>& table = scorer.tables_.emplace_back(blocks_each);
    std::iota(table.begin(), table.end(), next);
    next += blocks_each;
  }
  return scorer;
}

void Scorer::run(std::span<const TokenId> tokens, const OnPosition& on_position) {
  auto n_tokens = static_cast<int64_t>(tokens.size());
  CHECK(n_tokens <= runner_.limits().max_len, "{} tokens, room for {}", n_tokens, runner_.limits().max_len);
  std::vector<int32_t> rows(static_cast<size_t>(chunk_tokens_));
  std::iota(rows.begin(), rows.end(), 0);
  std::vector<int32_t> row_seq(rows.size(), 0);
  for (int64_t begin = 0; begin < n_tokens; begin += chunk_tokens_) {
    int64_t n = std::min(chunk_tokens_, n_tokens - begin);
    layers::SeqRows seq{
        .row_begin = 0, .n_rows = static_cast<int32_t>(n), .ctx = begin, .window = window_, .sinks = sinks_};
    for (size_t g = 0; g < tables_.size(); ++g) seq.tables[g] = tables_[g].data();
    layers::Batch batch{.n_rows = n,
                        .tokens = tokens.data() + begin,
                        .row_seq = row_seq.data(),
                        .seqs = &seq,
                        .n_seqs = 1,
                        .wanted = rows.data(),
                        .n_wanted = n,
                        .n_logits = n};
    runner_.run(batch, [&](int, int64_t i, std::span<float> logits) { on_position(begin + i, logits); });
  }
}

std::vector<float> Scorer::log_probs(std::span<const TokenId> tokens) {
  std::vector<float> out(tokens.empty() ? 0 : tokens.size() - 1);
  const kernels::KernelTable& table = runner_.table();
  run(tokens, [&](int64_t position, std::span<float> logits) {
    auto next = static_cast<size_t>(position) + 1;
    if (next >= tokens.size()) return;
    auto n = static_cast<int64_t>(logits.size());
    float max = table.argmax(logits.data(), n).value;
    out[next - 1] = logits[static_cast<size_t>(tokens[next])] - max - std::log(table.exp_sum(logits.data(), max, n));
  });
  return out;
}

}  // namespace millrace::runtime
