// Plans to batches, logits to tokens.
#include "runtime/worker_group.h"

#include <algorithm>
#include <cmath>

#include "base/macros.h"
#include "sample/logprobs.h"

namespace millrace::runtime {

Result<std::unique_ptr<WorkerGroup>> WorkerGroup::create(const RunnerSetup& setup, uint32_t max_num_seqs,
                                                         const Clock& clock) {
  CHECK(setup.geometry.groups.size() <= layers::kMaxKvTables);
  StepRunner runner = TRY(StepRunner::create(setup));
  return std::unique_ptr<WorkerGroup>(new WorkerGroup(std::move(runner), setup, max_num_seqs, clock));
}

WorkerGroup::WorkerGroup(StepRunner runner, const RunnerSetup& setup, uint32_t max_num_seqs, const Clock& clock)
    : runner_(std::move(runner)),
      geometry_(setup.geometry),
      clock_(clock),
      slots_(max_num_seqs, setup.geometry.groups.size(), setup.geometry.max_len, setup.geometry.block_tokens,
             setup.constraints_complete),
      scratch_(static_cast<size_t>(setup.pool.n_threads())),
      unchanged_(static_cast<size_t>(setup.pool.n_threads())),
      max_draft_(setup.max_draft) {
  // here, and not where a step needs them: the threads of a pinned thread are pinned to its core
  if (setup.mask_threads > 0) mask_workers_ = std::make_unique<TaskPool>(setup.mask_threads, max_num_seqs);
  auto max_rows = static_cast<size_t>(setup.max_rows);
  tokens_.reserve(max_rows);
  row_seq_.reserve(max_rows);
  seqs_.reserve(max_rows);
  wanted_rows_.reserve(max_rows);
  wanted_.reserve(max_rows);
  for (sample::SampleScratch& scratch : scratch_) {
    scratch.row.reserve(setup.model.desc().n_vocab);
    scratch.indices.reserve(setup.model.desc().n_vocab);
    scratch.candidates.reserve(setup.model.desc().n_vocab);
  }
  for (std::vector<float>& logits : unchanged_) logits.reserve(setup.model.desc().n_vocab);
}

void WorkerGroup::add_share(const flow::StepPlan& plan, uint32_t share_idx) {
  const flow::Share& share = plan.shares[share_idx];
  Slot& slot = slots_.at(share.slot);
  size_t end = size_t{share.ctx} + share.q_len;
  size_t n_known = end - share.n_draft;
  if (slot.lost) slot.tokens.resize(std::max(slot.tokens.size(), n_known));  // planned before that was known
  CHECK(share.q_len > share.n_draft && n_known <= slot.tokens.size() && share.n_draft <= slot.draft.size(),
        "slot {}: rows {}..{} of {} known tokens and {} proposals", share.slot, share.ctx, end, slot.tokens.size(),
        slot.draft.size());
  auto row_begin = static_cast<int32_t>(tokens_.size());
  auto q_len = static_cast<int32_t>(share.q_len);
  layers::SeqRows seq{.row_begin = row_begin, .n_rows = q_len, .ctx = share.ctx};
  seq.window = slot.window_tokens;
  seq.sinks = slot.sink_tokens;
  seq.second_begin = slot.second_begin;
  for (size_t g = 0; g < slot.tables.size(); ++g) {
    CHECK(slot.tables[g].size() * geometry_.block_tokens >= end, "slot {}: {} blocks for {} tokens", share.slot,
          slot.tables[g].size(), end);
    seq.tables[g] = slot.tables[g].data();
  }
  tokens_.insert(tokens_.end(), slot.tokens.begin() + share.ctx, slot.tokens.begin() + static_cast<ptrdiff_t>(n_known));
  tokens_.insert(tokens_.end(), slot.draft.begin(), slot.draft.begin() + share.n_draft);
  row_seq_.insert(row_seq_.end(), share.q_len, static_cast<int32_t>(seqs_.size()));
  seqs_.push_back(seq);
  flow::ShareResult& result = output_.shares[share_idx];
  result.slot = share.slot;
  result.epoch = share.epoch;
  if (slot.lost) return;
  for (int32_t i = 0; share.prompt_logprobs && i < q_len; ++i) {
    size_t next = share.ctx + static_cast<size_t>(i) + 1;
    if (next >= slot.input_len) break;
    wanted_rows_.push_back(row_begin + i);
    wanted_.push_back({share_idx, slot.tokens[next], static_cast<uint32_t>(i)});
    result.prompt_logprobs.emplace_back();
  }
  if (!share.sample) return;
  if (share.n_draft > 0) drafts_.push_back({share_idx, n_drafted_});
  for (int32_t i = q_len - 1 - share.n_draft; i < q_len; ++i) {
    wanted_rows_.push_back(row_begin + i);
    wanted_.push_back({.share = share_idx, .drafted = share.n_draft > 0});
    if (share.n_draft > 0) wanted_.back().drafted_idx = n_drafted_++;
  }
}

void WorkerGroup::add_pool_job(const flow::Share& share, uint32_t share_idx) {
  const Slot& slot = slots_.at(share.slot);
  ShareSpan span{share.ctx, share.q_len, slot.input_len};
  PoolRows rows = rows_to_pool(slot.pool.pooling(), span);
  if (rows.n == 0 && !span.ends_prompt()) return;
  auto wanted_begin = static_cast<uint32_t>(wanted_rows_.size());
  auto row = static_cast<int32_t>(static_cast<uint32_t>(seqs_[share_idx].row_begin) + rows.first);
  for (uint32_t i = 0; i < rows.n; ++i) wanted_rows_.push_back(row + static_cast<int32_t>(i));
  pools_.push_back({share_idx, wanted_begin, rows.n, span.ends_prompt()});
}

// Thread: any compute thread; touches only the share and the slot of its job.
void WorkerGroup::run_pool_job(int64_t job_idx) {
  PoolJob& job = pools_[static_cast<size_t>(job_idx)];
  PoolState& pool = slots_.at(plan_->shares[job.share].slot).pool;
  for (uint32_t i = 0; i < job.n; ++i) {
    pool.add(runner_.model(), runner_.table(), runner_.hidden(job.wanted_begin + i));
  }
  if (!job.last) return;
  Result<std::vector<float>> values = pool.take(runner_.model());
  flow::ShareResult& result = output_.shares[job.share];
  result.failed = !values.ok();
  if (values.ok()) {
    result.pooled = std::move(values).value();
  } else {
    result.error = values.take_error();
  }
}

void WorkerGroup::build_batch(const flow::StepPlan& plan) {
  tokens_.clear();
  row_seq_.clear();
  seqs_.clear();
  wanted_rows_.clear();
  wanted_.clear();
  pools_.clear();
  drafts_.clear();
  n_drafted_ = 0;
  output_ = {};
  output_.step = plan.step;
  output_.shares.resize(plan.shares.size());
  for (uint32_t i = 0; i < plan.shares.size(); ++i) add_share(plan, i);
  for (uint32_t i = 0; i < plan.shares.size(); ++i) {
    if (slots_.at(plan.shares[i].slot).pool.pooling() != flow::Pooling::kNone) add_pool_job(plan.shares[i], i);
  }
  if (drafted_logits_.size() < n_drafted_) drafted_logits_.resize(n_drafted_);
  batch_ = {.n_rows = static_cast<int64_t>(tokens_.size()),
            .tokens = tokens_.data(),
            .row_seq = row_seq_.data(),
            .seqs = seqs_.data(),
            .n_seqs = static_cast<int64_t>(seqs_.size()),
            .wanted = wanted_rows_.data(),
            .n_wanted = static_cast<int64_t>(wanted_rows_.size()),
            .n_logits = static_cast<int64_t>(wanted_.size())};
}

// Thread: any compute thread; touches only its own wanted row and the fields of the share that belong to it.
void WorkerGroup::finish_row(int thread, int64_t wanted_idx, std::span<float> logits) {
  Wanted& wanted = wanted_[static_cast<size_t>(wanted_idx)];
  flow::ShareResult& result = output_.shares[wanted.share];
  Slot& slot = slots_.at(plan_->shares[wanted.share].slot);
  auto fail = [&](Error error) {
    wanted.failed = true;
    wanted.error = std::move(error);
  };
  if (wanted.drafted) {
    drafted_logits_[wanted.drafted_idx].assign(logits.begin(), logits.end());
    return;
  }
  if (wanted.target == kNoToken) {
    std::span<const uint32_t> mask;
    if (slot.mask != nullptr) mask = slot.mask->wait();
    flow::FurtherToken sampled;
    wanted.failed = !sample_row(slot, logits, mask, static_cast<size_t>(thread), sampled, wanted.error);
    if (wanted.failed) return;
    result.token = sampled.token;
    result.logprobs = std::move(sampled.logprobs);
    propose(slot, result);
    return;
  }
  kernels::ArgMax best = runner_.table().argmax(logits.data(), static_cast<int64_t>(logits.size()));
  if (best.index < 0 || !std::isfinite(best.value)) {
    return fail({ErrorCode::kInternal, "the model gave non-finite logits for the prompt", {}});
  }
  result.prompt_logprobs[wanted.prompt_idx] =
      sample::position_logprobs(runner_.table(), logits, wanted.target, slot.sampler.params().n_prompt_logprobs);
}

bool WorkerGroup::sample_row(Slot& slot, std::span<float> logits, std::span<const uint32_t> mask, size_t thread,
                             flow::FurtherToken& out, Error& error) {
  auto accept = [&](Result<sample::Sampled>& one) {
    if (!one.ok() || slot.mask == nullptr || slot.mask->accept(one->token)) return;
    one = Error{ErrorCode::kInternal, "a token of the mask was not accepted", {}};
  };
  bool may_be_late = slot.mask != nullptr && slot.mask->may_be_late();
  if (may_be_late) unchanged_[thread].assign(logits.begin(), logits.end());
  auto sampled = sample::sample(runner_.table(), slot.sampler, logits, scratch_[thread], mask);
  auto resample = [&] {
    return sample::sample(runner_.table(), slot.sampler, unchanged_[thread], scratch_[thread], slot.mask->bits());
  };
  // other parameters of the request may leave nothing of the nearest end: then the answer is cut off
  bool cut = !sampled.ok() && may_be_late && slot.mask->widen();
  if (cut) sampled = resample();
  accept(sampled);
  if (sampled.ok() && may_be_late && !cut && !slot.mask->in_time()) {
    auto nearer = resample();
    if (nearer.ok()) sampled = std::move(nearer);
    accept(sampled);
  }
  if (!sampled.ok()) {
    std::string why = slot.mask != nullptr ? slot.mask->failure() : std::string();
    error = why.empty() ? sampled.take_error() : Error{ErrorCode::kNoTokenAllowed, std::move(why), {}};
    return false;
  }
  out.token = sampled->token;
  out.logprobs = std::move(sampled->logprobs);
  return true;
}

// Behind the last token that was sampled: what must come next, as the tokenizer would write it.
void WorkerGroup::propose(Slot& slot, flow::ShareResult& result) const {
  slot.draft.clear();
  result.completed = slot.mask != nullptr && slot.mask->ended() && slot.mask->hurried();
  if (max_draft_ == 0 || slot.mask == nullptr || slot.mask->ended()) return;
  slot.draft.resize(slot.draft_length.rows(plan_->shares.size(), max_draft_));
  if (!slot.draft.empty()) slot.draft.resize(slot.mask->draft(slot.draft));
  result.n_proposed = static_cast<uint16_t>(slot.draft.size());
}

// Each row is sampled as if it were alone: from its logits, the mask behind the tokens before it, and the draw of its
// place. So the tokens are those of a step each, up to the first that is not the proposed one.
// Thread: any compute thread; touches only the share and the slot of its job.
void WorkerGroup::check_draft(size_t thread, const DraftJob& job) {
  const flow::Share& share = plan_->shares[job.share];
  flow::ShareResult& result = output_.shares[job.share];
  Slot& slot = slots_.at(share.slot);
  std::vector<TokenId> draft = std::move(slot.draft);
  draft.resize(share.n_draft);
  for (size_t i = 0; i <= draft.size(); ++i) {
    std::span<const uint32_t> mask;
    if (slot.mask != nullptr) mask = i == 0 ? slot.mask->wait() : slot.mask->fill_now();
    flow::FurtherToken next;
    Error error;
    if (!sample_row(slot, drafted_logits_[job.logits_begin + i], mask, thread, next, error)) {
      if (i > 0) break;  // what was sampled counts; the next step meets the error again
      result.failed = true;
      result.error = std::move(error);
      return;
    }
    TokenId token = next.token;
    slot.tokens.push_back(token);
    slot.sampler.append(token);
    if (i == 0) {
      result.token = token;
      result.logprobs = std::move(next.logprobs);
    } else {
      result.further.push_back(std::move(next));
    }
    if (i == draft.size()) break;
    bool right = token == draft[i];
    slot.draft_length.learn(right);
    if (!right || (slot.mask != nullptr && slot.mask->ended())) break;
  }
  propose(slot, result);
}

void WorkerGroup::finish_step(const flow::StepPlan& plan) {
  for (Wanted& wanted : wanted_) {
    flow::ShareResult& result = output_.shares[wanted.share];
    if (wanted.failed && !result.failed) {
      result.failed = true;
      result.error = std::move(wanted.error);
    }
  }
  for (size_t i = 0; i < output_.shares.size(); ++i) {
    const flow::ShareResult& result = output_.shares[i];
    Slot& slot = slots_.at(result.slot);
    slot.lost |= result.failed;
    if (result.failed || result.token == kNoToken) continue;
    if (plan.shares[i].n_draft == 0) {
      slot.tokens.push_back(result.token);
      slot.sampler.append(result.token);
    }
    if (slot.mask != nullptr && !slot.mask->ended()) post_fill(slot);
  }
  slots_.release(plan.freed_slots);
}

// From here to the sampler the mask is filled beside the forward pass. Without threads for it, or with a full queue,
// the sampler fills it.
void WorkerGroup::post_fill(const Slot& slot) {
  slot.mask->request_fill();
  if (mask_workers_ == nullptr) return;
  (void)mask_workers_->try_post([mask = slot.mask] { mask->fill(); });
}

void WorkerGroup::submit(const flow::StepPlan& plan) {
  Tick begin = clock_.now();
  slots_.apply(plan);
  for (const flow::SlotInit& init : plan.new_slots) {
    if (init.sampling->constraint != nullptr) post_fill(slots_.at(init.slot));
  }
  for (const flow::CopyOp& op : plan.cow) runner_.kv().copy(op);
  build_batch(plan);
  plan_ = &plan;
  if (batch_.n_rows > 0) {
    auto n_pools = static_cast<int64_t>(pools_.size());
    Readout readout{n_pools + static_cast<int64_t>(drafts_.size()), [this, n_pools](int thread, int64_t job) {
                      if (job < n_pools) return run_pool_job(job);
                      check_draft(static_cast<size_t>(thread), drafts_[static_cast<size_t>(job - n_pools)]);
                    }};
    runner_.run(
        batch_, [this](int thread, int64_t i, std::span<float> logits) { finish_row(thread, i, logits); }, readout);
  }
  plan_ = nullptr;
  finish_step(plan);
  output_.took = clock_.now() - begin;
}

bool WorkerGroup::done(uint64_t step) { return output_.step >= step; }

flow::StepOutput WorkerGroup::take_output(uint64_t step) {
  CHECK(output_.step == step, "output of step {} asked for, step {} is done", step, output_.step);
  flow::StepOutput taken = std::move(output_);
  output_ = {};
  output_.step = step;
  return taken;
}

// A step above layers::kRedundantRows, then one below: with 63 rows a start of 7 G weights took 1.7 s longer.
constexpr int64_t kWarmUpRows = 9;

void WorkerGroup::warm_up() {
  flow::SamplingParams params;
  params.temperature = 0.0f;
  bool encoder = runner_.model().desc().is_encoder();
  params.max_tokens = encoder ? 0 : 2;
  params.pooling = encoder ? flow::Pooling::kFirst : flow::Pooling::kNone;
  auto n_groups = static_cast<uint32_t>(geometry_.groups.size());
  uint32_t blocks_each = std::min(2u, geometry_.n_blocks / n_groups);
  uint32_t longest = std::min(geometry_.max_len, blocks_each * geometry_.block_tokens);
  auto room = std::min<int64_t>(runner_.limits().max_rows, longest);
  if (room < 2) return;
  flow::StepPlan plan;
  auto n_prompt = static_cast<uint32_t>(std::min(room - 1, kWarmUpRows));
  plan.new_slots.push_back(
      {.slot = 0, .input_len = n_prompt, .sampling = &params, .tokens = std::vector<TokenId>(n_prompt, 0)});
  for (uint32_t g = 0; g < n_groups; ++g) {
    for (uint32_t i = 0; i < blocks_each; ++i) plan.blocks.push_back({0, g, i, g * blocks_each + i});
  }
  plan.shares.push_back({.slot = 0, .ctx = 0, .q_len = n_prompt, .sample = !encoder});
  submit(plan);
  flow::StepPlan decode;
  decode.freed_slots.push_back(0);
  if (!output_.shares[0].failed && !encoder)
    decode.shares.push_back({.slot = 0, .ctx = n_prompt, .q_len = 1, .sample = true});
  submit(decode);
  output_ = {};
}

}  // namespace millrace::runtime
