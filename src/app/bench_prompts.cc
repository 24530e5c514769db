#include "app/bench_prompts.h"

#include <utility>

#include "api/completions.h"
#include "base/macros.h"
#include "instance/instance.h"

namespace millrace::app {

BenchPrompts::BenchPrompts(std::mt19937& random, int64_t n_seqs, int64_t n_prompt, int64_t n_vocab) {
  for (int64_t i = 0; i < n_seqs; ++i) {
    Json prompt = Json::array();
    for (int64_t k = 0; k < n_prompt; ++k) {
      prompt.push_back(static_cast<int64_t>(random() % static_cast<uint32_t>(n_vocab)));
    }
    tokens.push_back(std::move(prompt));
  }
}

Result<instance::Answer> answer_prompts(instance::Instance& model, const BenchPrompts& prompts, int64_t n_gen,
                                        const std::function<bool(const instance::ChoiceDelta&)>& on_delta) {
  Json body = Json::object();
  body.set("prompt", prompts.tokens);
  body.set("max_tokens", n_gen);
  body.set("temperature", 0.0);
  body.set("ignore_eos", true);
  body.set("cache_prompt", prompts.cached);
  instance::Job job{.body = TRY(api::parse_completion(body, model.parse_context())), .arrival = model.clock().now()};
  return instance::generate_blocking(model, std::move(job), on_delta);
}

}  // namespace millrace::app
