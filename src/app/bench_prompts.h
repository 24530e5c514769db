// Prompts of random tokens and their answers, as the bench commands measure them. Thread: any.
#pragma once

#include <cstdint>
#include <functional>
#include <random>

#include "base/json.h"
#include "base/result.h"
#include "instance/session.h"

namespace millrace::app {

// n_seqs prompts of n_prompt tokens below n_vocab. They differ in every run, so the prefix cache never helps.
struct BenchPrompts {
  Json tokens = Json::array();
  bool cached = false;  // read from and left in the prefix cache

  BenchPrompts(std::mt19937& random, int64_t n_seqs, int64_t n_prompt, int64_t n_vocab);
};

// Each prompt answered with n_gen tokens, greedily; waits for all of them.
Result<instance::Answer> answer_prompts(instance::Instance& model, const BenchPrompts& prompts, int64_t n_gen,
                                        const std::function<bool(const instance::ChoiceDelta&)>& on_delta = {});

}  // namespace millrace::app
