// Logits of a token list without an engine: one sequence, its own KV cache, chunk after chunk. For perplexity, the
// quality guard and golden tests.
// Thread: one at a time, which becomes compute thread 0.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "runtime/step_runner.h"

namespace millrace::runtime {

class Scorer {
 public:
  // max_len: the longest token list.
  struct Setup {
    const models::Model& model;
    const kernels::KernelTable& table;
    device::ThreadPool& pool;
    kernels::KvDType kv_dtype = kernels::KvDType::kBF16;
    uint32_t max_len = 2048;
    int64_t chunk_tokens = 128;
    uint32_t window_tokens = 0;  // > 0: layers without a window see the first sink_tokens and the last window_tokens
    uint32_t sink_tokens = 0;
  };
  static Result<Scorer> create(const Setup& setup);

  // Called for every position, on the compute threads, in any order: logits [n_vocab] after tokens[0..position].
  using OnPosition = std::function<void(int64_t position, std::span<float> logits)>;
  void run(std::span<const TokenId> tokens, const OnPosition& on_position);

  // Natural log-probability of each token but the first, given those before it.
  std::vector<float> log_probs(std::span<const TokenId> tokens);

  const RunnerCounters& counters() const { return runner_.counters(); }

 private:
  explicit Scorer(StepRunner runner) : runner_(std::move(runner)) {}
  StepRunner runner_;
  int64_t chunk_tokens_ = 0;
  int64_t window_ = 0;
  int64_t sinks_ = 0;
  std::vector<std::vector<flow::BlockId>> tables_;  // [n_kv_groups]
};

}  // namespace millrace::runtime
