// Requests with beam search: their forks are the running beams. A beam that has given its next tokens waits, with what
// it holds, until all have; then the best go on, each in the sequence of its parent or in a fork of that, and the rest
// end. The client gets the best hypotheses when the search is over.
#include <algorithm>
#include <utility>

#include "base/macros.h"
#include "engine/engine_state.h"

namespace millrace::engine {

void Engine::State::begin_beams(Request& request) {
  const flow::SamplingParams& sampling = request.ask.sampling;
  BeamRules rules{.width = request.ask.beam_width,
                  .length_penalty = request.ask.length_penalty,
                  .stop = request.ask.beam_stop,
                  .min_tokens = sampling.min_tokens};
  uint64_t room = options.kv.max_len - request.ask.prompt.size();
  rules.max_tokens = static_cast<uint32_t>(std::min<uint64_t>(sampling.max_tokens, room));
  rules.end_tokens = sampling.stop_token_ids;
  if (!sampling.ignore_eos) {
    rules.end_tokens.insert(rules.end_tokens.end(), sampling.eos_token_ids.begin(), sampling.eos_token_ids.end());
  }
  request.forks.resize(rules.width);
  request.beams = std::make_unique<BeamSearch>(std::move(rules));
  request.beam_forks = {0};
}

// `n_tokens`: known tokens that the answer follows. One that is computed twice counts once.
void Engine::State::take_beam_answer(Request& request, sched::Seq& seq, uint32_t n_tokens, flow::ShareResult& result,
                                     Tick now) {
  if (n_tokens != seq.n_known()) return;
  auto at = std::ranges::find(request.beam_forks, seq.fork);
  CHECK(at != request.beam_forks.end(), "request {} fork {} is no beam", request.ask.id, seq.fork);
  if (result.logprobs == nullptr || result.logprobs->top.empty()) {
    end_request(request, flow::FinishReason::kError, {ErrorCode::kInternal, "a beam got no candidates", ""}, now);
    return;
  }
  Fork& fork = request.forks[seq.fork];
  if (fork.first_token == 0) fork.first_token = now;
  fork.sampled = result.token;
  ++totals.generated_tokens;
  ++n_tokens_out;
  request.beams->answer(static_cast<uint32_t>(at - request.beam_forks.begin()), result.logprobs->top);
  if (request.beams->all_answered()) {
    advance_beams(request, now);
  } else {
    seqs.set_held(seq, true);
  }
}

void Engine::State::advance_beams(Request& request, Tick now) {
  std::vector<std::span<const TokenId>> outputs;
  for (uint32_t fork : request.beam_forks) outputs.emplace_back(seqs.at(request.forks[fork].seq).outputs);
  std::vector<BeamSearch::Child> children;
  if (!request.beams->advance(outputs, children)) {
    end_beams(request, now);
    return;
  }
  std::vector<uint32_t> old_forks = std::exchange(request.beam_forks, {});
  std::vector<bool> kept(old_forks.size(), false);
  std::vector<uint32_t> free_forks;
  for (uint32_t k = 0; k < request.forks.size(); ++k) {
    if (request.forks[k].seq == sched::kNoSeq) free_forks.push_back(k);
  }
  for (uint32_t b = 0; b < old_forks.size(); ++b) {
    bool lost = std::ranges::none_of(children, [b](const auto& child) { return child.parent == b; });
    if (!lost) continue;
    drop_beam(request, old_forks[b]);
    free_forks.push_back(old_forks[b]);
  }
  for (const BeamSearch::Child& child : children) {  // first those that copy a parent as it was
    uint32_t parent = old_forks[child.parent];
    bool stays = !kept[child.parent];
    kept[child.parent] = true;
    uint32_t fork = stays ? parent : free_forks.back();
    if (!stays) {
      free_forks.pop_back();
      add_beam(request, fork, parent, now);
    }
    request.beam_forks.push_back(fork);
  }
  for (size_t i = 0; i < children.size(); ++i) {
    sched::Seq& seq = seqs.at(request.forks[request.beam_forks[i]].seq);
    seq.outputs.push_back(children[i].token);
    seqs.set_held(seq, false);
    if (children[i].token != request.forks[request.beam_forks[i]].sampled)
      seq.reopen = true;  // the backend's is another
  }
}

void Engine::State::add_beam(Request& request, uint32_t fork, uint32_t parent, Tick now) {
  sched::SeqId source = request.forks[parent].seq;
  sched::Seq& seq = own(seqs.create_resumed(request.ask, fork, request.number, now), request);
  seq.outputs = seqs.at(source).outputs;
  seq.source = source;
  seq.lagged = true;  // nothing was reserved for it
  seqs.set_parked(seq, request.parked_until != 0);
  request.forks[fork].seq = seq.id;
  request.forks[fork].sampled = kNoToken;
  ++request.n_seqs;
}

void Engine::State::drop_beam(Request& request, uint32_t fork) {
  sched::Seq& seq = seqs.at(std::exchange(request.forks[fork].seq, sched::kNoSeq));
  if (seq.load_until != 0) tiers->forget({.request = request.ask.id, .seq = seq.id});
  seqs.end(seq);
  cache.release(seq.kv);
  destroy_if_idle(seq);
}

// The best hypotheses become the answers, each token an event.
void Engine::State::end_beams(Request& request, Tick now) {
  for (uint32_t k = 0; k < request.forks.size(); ++k) {
    if (request.forks[k].seq != sched::kNoSeq) drop_beam(request, k);
  }
  const auto& best = request.beams->finished();
  const flow::SamplingParams& sampling = request.ask.sampling;
  auto names = [](const std::vector<TokenId>& ids, TokenId id) { return std::ranges::find(ids, id) != ids.end(); };
  for (uint32_t k = 0; k < request.forks.size(); ++k) {
    Fork& fork = request.forks[k];
    fork.first_scheduled = request.forks[0].first_scheduled;
    fork.first_token = request.forks[0].first_token;
    flow::TokenEvent last;
    last.finish = flow::FinishReason::kLength;
    if (k < request.ask.n && k < best.size()) {
      const std::vector<TokenId>& tokens = best[k].tokens;
      for (size_t i = 0; i + 1 < tokens.size(); ++i) {
        events.push_back({.request = request.ask.id, .fork = k, .token = tokens[i], .when = now});
      }
      last.token = tokens.back();
      last.n_output = static_cast<uint32_t>(tokens.size());
      bool eos = !sampling.ignore_eos && names(sampling.eos_token_ids, last.token);
      if (eos) last.finish = flow::FinishReason::kEos;
      if (!eos && names(sampling.stop_token_ids, last.token)) last.finish = flow::FinishReason::kStopToken;
      if (last.finish != flow::FinishReason::kLength) last.stop_token = last.token;
    }
    end_fork(request, k, std::move(last), now);
  }
}

}  // namespace millrace::engine
