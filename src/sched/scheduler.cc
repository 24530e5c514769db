#include "sched/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/macros.h"
#include "sched/expected_output.h"
#include "sched/forecast.h"
#include "sched/plan_hash.h"

namespace millrace::sched {
namespace {

// Waiting requests that may fail to find memory in one plan before it stops asking: each costs a match and a look at
// every live sequence.
constexpr uint32_t kMostRefusals = 8;

// Without a target, a step grows at most so many times for the prompts of a tenant that is owed most: they are done in
// one step instead of two.
constexpr uint32_t kMostOwedGrowth = 3;

}  // namespace

void PlanRecord::clear() {
  plan.new_slots.clear();
  plan.blocks.clear();
  plan.cow.clear();
  plan.shares.clear();
  plan.freed_slots.clear();
  seqs.clear();
  first_admitted.clear();
  n_matched.clear();
  n_decode_seqs = n_preempted = n_prompt_rows = n_recomputed_rows = 0;
  shape = {};
  predicted = 0;
  discarded = false;
}

uint32_t wanted_rows(const Seq& seq, uint32_t max_len, uint32_t max_ahead) {
  if (seq.progress.n_drafted > 0) return 0;  // how many of them are right is not known
  uint32_t ahead = seq.progress.placeholders;
  uint32_t target = seq.n_known() + ahead;
  if (ahead > max_ahead || (ahead > 0 && seq.request->beam_width > 1)) return 0;
  if (ahead > 0 && (seq.outputs.size() + ahead >= seq.request->sampling.max_tokens || target >= max_len)) return 0;
  return target - seq.progress.computed;
}

void preempt(SeqTable& seqs, cache::KvCache& cache, Seq& seq, Tick now) {
  seqs.preempt(seq, now);
  cache.release(seq.kv);
}

// One call of plan(): the walk along the list.
class Scheduler::Run {
 public:
  Run(Scheduler& sched, SeqTable& seqs, cache::KvCache& cache, Tick now, PlanRecord& out)
      : sched_(sched),
        options_(sched.options_),
        seqs_(seqs),
        cache_(cache),
        now_(now),
        out_(out),
        order_(sched.places_.ids()),
        n_candidates_(order_.size()) {
    edits_ = {.blocks = &out.plan.blocks, .copies = &out.plan.cow};
    sched_.refused_.clear();
  }

  // Shares the rows of the step between decodes and prefills. A step must have rows of one kind at least: when `any`
  // is set, a budget that asks for one kind only is not obeyed.
  void divide(bool any) {
    BudgetView view{.cost = sched_.cost_, .now = now_};
    uint32_t n_proposed = 0;  // none where the peak of all sequences was admitted by: it lets nobody run ahead
    for (SeqId id : order_) {
      const Seq& seq = seqs_.at(id);
      if (seq.parked) continue;
      uint32_t want = seq.state == SeqState::kLive ? wanted(seq) : 2;
      if (want == 1) {
        ++view.decodes.n_decode;
        view.decodes.ctx_decode += seq.progress.computed;
        if (options_.admit != AdmitKind::kNoEvictPeak) n_proposed += seq.progress.n_proposed;
        if (seq.next_due == 0) view.untargeted = true;
        if (seq.next_due != 0 && (view.due == 0 || seq.next_due < view.due)) view.due = seq.next_due;
      } else if (want > 1) {
        sched_.add_prompt(seq, view);
      }
    }
    view.most_rows = options_.tok_cap - view.decodes.n_decode;
    uint32_t beside = options_.budget_tokens - std::min(options_.budget_tokens, view.decodes.n_decode);
    draft_left_ = std::min({n_proposed, view.most_rows, beside, kMostDraftRows});
    if (view.due != 0) {
      draft_left_ = std::min(draft_left_, sched_.slack_.prefill_rows(view, sched_.slack_.limit(view), 0));
    }
    if (view.n_prompts == 0) return;
    StepBudget budget = sched_.budget_->compute(view);
    side_ = any ? Side::kBoth : budget.side;
    if (any && budget.side == Side::kDecode) budget.prefill_rows = options_.c_min;
    uint32_t n_rows = budget.prefill_rows;
    if (view.due == 0 && owed_rows() > n_rows) {
      uint32_t most = rows_beside_decodes(view, options_.budget_tokens, options_.c_min);
      n_rows = std::max(n_rows, std::min({owed_rows(), kMostOwedGrowth * n_rows, most}));
    }
    prefill_left_ = std::min(n_rows, view.most_rows);
    // Proposals belong to the decodes: prompts make way for them, but for c_min rows.
    if (side_ == Side::kPrefill) draft_left_ = 0;
    uint32_t least = std::min(prefill_left_, options_.c_min);
    draft_left_ = std::min(draft_left_, view.most_rows - least);
    prefill_left_ = std::max(prefill_left_ - std::min(prefill_left_, draft_left_), least);
  }

  void walk() {
    for (size_t place = 0; place < order_.size(); ++place) consider(place);
  }
  Side side() const { return side_; }

 private:
  // Rows of the prompts that come first because their tenants are owed most.
  uint32_t owed_rows() const {
    uint32_t n = 0;
    for (SeqId id : sched_.places_.owed()) n += sched_.rows_left(seqs_.at(id));
    return n;
  }
  // No step gives a prompt less than all of it: encoders.
  bool whole_prompts() const { return options_.c_min >= sched_.max_len_; }
  // Rows of a prompt with so many left to compute. A whole one goes beyond the budget when it is the first of the step.
  uint32_t prompt_rows(uint32_t left) const {
    if (!whole_prompts()) return std::min(left, prefill_left_);
    return left <= prefill_left_ || (out_.plan.shares.empty() && left <= options_.tok_cap) ? left : 0;
  }
  uint32_t wanted(const Seq& seq) const { return wanted_rows(seq, sched_.max_len_, options_.depth - 1); }

  void consider(size_t place) {
    Seq& seq = seqs_.at(order_[place]);
    if (seq.parked || seq.load_until != 0) return;  // the latter since an earlier walk of this plan
    if (seq.state == SeqState::kLive) {
      consider_live(seq, place);
    } else if (admit_open_ && seqs_.n_free_slots() > 0 && prefill_left_ > 0 && seq.progress.in_flight == 0) {
      consider_waiting(seq, place);
    }
  }

  void consider_live(Seq& seq, size_t place) {
    uint32_t want = wanted(seq);
    if (want == 0) return;
    bool decoding = want == 1;
    if (decoding && side_ == Side::kPrefill) return;
    uint32_t n = decoding && !whole_prompts() ? 1 : prompt_rows(want);
    if (n == 0) return;
    cache_.slide(seq.kv, seq.progress.computed, out_.plan.blocks);
    bool head = std::exchange(head_, false);
    if (!find_memory(seq, place, seq.progress.computed, n, head)) return;
    if (seq.reopen) open_slot(seq);
    commit(seq, seq.progress.computed, n, decoding ? draft_rows(seq) : 0);
    if (!decoding) prefill_left_ -= std::min(n, prefill_left_);
  }

  // Proposals that are checked beside the next row: as far as rows are left over, and blocks that nobody else needs in
  // this plan.
  uint32_t draft_rows(const Seq& seq) {
    const SeqProgress& progress = seq.progress;
    uint32_t n_outputs = static_cast<uint32_t>(seq.outputs.size());
    if (progress.n_proposed == 0 || progress.in_flight > 0 || seq.request->beam_width > 1) return 0;
    uint32_t most = std::min(seq.request->sampling.max_tokens - n_outputs, sched_.max_len_ - seq.n_known());
    uint32_t n = std::min({progress.n_proposed, draft_left_, most - std::min(most, 1u)});
    auto reserve = static_cast<uint32_t>(seqs_.live().size()) * cache_.n_groups();
    if (cache_.blocks_needed(seq.kv, progress.computed, 1 + n) + reserve > cache_.available()) return 0;
    draft_left_ -= n;
    return n;
  }

  void consider_waiting(Seq& seq, size_t place) {
    if (seq.may_load && sched_.below_ != nullptr && load_first(seq, place)) return;
    bool head = std::exchange(head_, false);
    bool admitted = seq.source != kNoSeq && try_admit(seq, place, share_prompt(seq), head);
    if (!admitted) {
      seq.source = kNoSeq;
      admitted = try_admit(seq, place, match(seq), head);
    }
    std::vector<SeqId>& refused = sched_.refused_;
    if (admitted) {
      for (SeqId id : refused) seqs_.bypass(seqs_.at(id));
      refused.clear();
      return;
    }
    refused.push_back(seq.id);
    if (seqs_.is_barrier(seq, now_) || ++n_refused_ == kMostRefusals) admit_open_ = false;
  }

  // A preempted sequence that could start in memory that is free: first what it had is loaded from below the pool.
  bool load_first(Seq& seq, size_t place) {
    uint32_t computed = match(seq);
    bool room = cache_.available() >= cache_.blocks_needed(seq.kv, computed, seq.n_known() - computed) &&
                may_start(seq, place, computed, head_);
    cache_.release(seq.kv);
    if (!room) return false;
    seq.may_load = false;
    Tick until = sched_.below_->swap_in(seq);
    if (until != 0) seqs_.set_load_until(seq, until);
    return until != 0;
  }

  // All known tokens but the last, from the first fork, or from the beam it goes on from; 0 when that has no slot any
  // more, or computes its prompt (again) in this very plan: copies run before rows.
  uint32_t share_prompt(Seq& seq) {
    const Seq& source = seqs_.at(seq.source);
    uint32_t n_tokens = seq.n_known() - 1;
    bool planned = source.kv.last_step == out_.plan.step;
    uint32_t computed = planned ? source.progress.last_ctx : source.progress.computed;
    size_t n_same = seq.outputs.empty() ? 0 : seq.outputs.size() - 1;
    bool usable = source.state == SeqState::kLive && source.request == seq.request && computed >= n_tokens &&
                  source.outputs.size() >= n_same &&
                  std::equal(source.outputs.begin(), source.outputs.begin() + static_cast<std::ptrdiff_t>(n_same),
                             seq.outputs.begin());
    return usable && n_tokens > 0 && cache_.fork(seq.kv, source.kv, n_tokens) ? n_tokens : 0;
  }

  uint32_t match(Seq& seq) {
    uint32_t most = seq.request->use_prefix_cache || seq.rank.seniority != 0 ? UINT32_MAX : 0;
    if (flow::needs_every_row(seq.request->sampling.pooling)) most = 0;
    if (seq.wants_prompt_logprobs()) most = std::min(most, seq.progress.n_prompt_logprobs);
    return cache_.match(seq.kv, seq.tokens(), most);
  }

  // `computed` tokens are in its table. Leaves the sequence waiting and without blocks when it cannot start.
  bool try_admit(Seq& seq, size_t place, uint32_t computed, bool head) {
    uint32_t n = prompt_rows(seq.n_known() - computed);
    if (n == 0 || !may_start(seq, place, computed, head) || !find_memory(seq, place, computed, n, head)) {
      cache_.release(seq.kv);
      return false;
    }
    start(seq, computed);
    commit(seq, computed, n);
    prefill_left_ -= std::min(n, prefill_left_);
    return true;
  }

  bool may_start(const Seq& seq, size_t place, uint32_t computed, bool head) {
    AdmitView view{.seqs = seqs_,
                   .cache = cache_,
                   .usual_output = sched_.lengths_.mean(),
                   .n_takeable = takeable_behind(seq, place),
                   .takeable = sched_.takeable_,
                   .head = head};
    // Its search holds what the policy would wait for.
    bool beam = seq.request->beam_width > 1 && seq.rank.seniority != 0;
    return (beam && head) || sched_.admit_->ok(view, seq, computed);
  }

  uint32_t takeable_behind(const Seq& asker, size_t place) {
    uint32_t n = 0;
    sched_.takeable_.clear();
    cache_.begin_count();
    for (size_t i = place + 1; i < n_candidates_; ++i) {
      const Seq& seq = seqs_.at(order_[i]);
      if (seq.state != SeqState::kLive || !sched_.victim_->may(seqs_, seq, asker, now_, false)) continue;
      sched_.takeable_.push_back(seq.id);
      n += cache_.would_free(seq.kv);
    }
    return n;
  }

  // Blocks for n rows, taking victims from the tail of the list if need be; all or nothing. The head, and who runs
  // already, take leased blocks too, as the last resort.
  bool find_memory(const Seq& seq, size_t place, uint32_t computed, uint32_t n, bool head) {
    uint32_t need = cache_.blocks_needed(seq.kv, computed, n);
    do {
      if (cache_.available() >= need || preempt_for(seq, place, need, head)) return true;
    } while ((head || seq.state == SeqState::kLive) && cache_.give_up_lease());
    return false;
  }

  bool preempt_for(const Seq& seq, size_t place, uint32_t need, bool head) {
    uint32_t got = cache_.available();
    std::vector<SeqId>& victims = sched_.victims_;
    victims.clear();
    cache_.begin_count();
    size_t last = n_candidates_;
    for (; got < need && last > place + 1; --last) {
      Seq& victim = seqs_.at(order_[last - 1]);
      if (victim.state != SeqState::kLive || !sched_.victim_->may(seqs_, victim, seq, now_, head)) continue;
      victims.push_back(victim.id);
      got += cache_.would_free(victim.kv);
    }
    if (got < need) return false;
    for (SeqId id : victims) take_from(seqs_.at(id), head);
    n_candidates_ = last;
    admit_open_ = false;  // nobody starts in a plan that stopped somebody
    return true;
  }

  void take_from(Seq& victim, bool head) {
    flow::SlotId slot = victim.kv.slot;
    std::erase_if(out_.plan.blocks, [slot](const flow::BlockDelta& delta) { return delta.slot == slot; });
    if (sched_.below_ != nullptr) sched_.below_->swap_out(victim);
    preempt(seqs_, cache_, victim, now_);
    if (!head) ++victim.rank.n_preempted_by_others;
    ++out_.n_preempted;
  }

  void start(Seq& seq, uint32_t computed) {
    if (seq.rank.seniority == 0) {
      out_.first_admitted.push_back(seq.id);
      out_.n_matched.push_back(computed);
    }
    seqs_.admit(seq, now_);
    cache_.reserve(seq.kv, std::min(seq.n_prompt() + seq.request->sampling.max_tokens, sched_.max_len_));
    open_slot(seq);
  }

  // The slot, with all known tokens and blocks; what the plan said of it before is void.
  void open_slot(Seq& seq) {
    seq.reopen = false;
    seq.progress.n_proposed = 0;  // the backend forgets them
    std::erase_if(out_.plan.blocks, [&](const flow::BlockDelta& delta) { return delta.slot == seq.kv.slot; });
    cache_.announce(seq.kv, out_.plan.blocks);
    flow::SlotInit init{.slot = seq.kv.slot,
                        .input_len = seq.n_prompt(),
                        .fork = seq.fork,
                        .window_tokens = seq.kv.window_tokens,
                        .sink_tokens = seq.kv.sink_tokens,
                        .second_begin = seq.request->second_begin,
                        .sampling = &seq.request->sampling,
                        .tokens = seq.request->prompt};
    init.tokens.insert(init.tokens.end(), seq.outputs.begin(), seq.outputs.end());
    out_.plan.new_slots.push_back(std::move(init));
  }

  // n rows of known tokens, behind them n_draft proposals.
  void commit(Seq& seq, uint32_t computed, uint32_t n, uint32_t n_draft = 0) {
    if (!cache_.extend(seq.kv, computed, n + n_draft, out_.plan.step, edits_)) return;  // the plan is dropped
    uint32_t end = computed + n;
    SeqProgress& progress = seq.progress;
    uint32_t n_prompt = seq.n_prompt();
    bool sample = end == seq.n_known() + progress.placeholders && seq.request->sampling.max_tokens > 0;
    bool logprobs = seq.wants_prompt_logprobs() && computed + 1 < n_prompt && end > progress.n_prompt_logprobs;
    out_.plan.shares.push_back({.slot = seq.kv.slot,
                                .ctx = computed,
                                .q_len = n + n_draft,
                                .epoch = seq.epoch,
                                .n_draft = static_cast<uint16_t>(n_draft),
                                .sample = sample,
                                .prompt_logprobs = logprobs});
    out_.seqs.push_back(seq.id);
    if (n == 1 && computed >= n_prompt) {
      ++out_.n_decode_seqs;
      ++out_.shape.n_decode;
      out_.shape.ctx_decode += computed;
      out_.shape.n_prefill += n_draft;
      out_.shape.ctx_prefill += n_draft > 0 ? row_context(computed + 1, n_draft) : 0;
    } else {
      out_.shape.n_prefill += n;
      out_.shape.ctx_prefill += row_context(computed, n);
    }
    uint32_t known = std::max(computed, progress.high_water);  // rows below it were charged before
    uint32_t n_charged = std::min(end, n_prompt) - std::min({known, end, n_prompt});
    seqs_.tenants().charge(seq.tenant, uint64_t{n_charged} * kPromptUnits + (sample ? kOutputUnits : 0));
    out_.n_prompt_rows += std::min(end, n_prompt) - std::min(computed, n_prompt);
    out_.n_recomputed_rows += std::min(end, progress.high_water) - std::min(computed, progress.high_water);
    progress.last_ctx = computed;
    progress.computed = end + n_draft;
    progress.n_drafted = n_draft;
    progress.n_proposed = 0;
    progress.high_water = std::max(progress.high_water, end);
    ++progress.in_flight;
    if (sample) ++progress.placeholders;
    cache_.publish(seq.kv, seq.tokens(), std::min(end, seq.n_known()));
  }

  Scheduler& sched_;
  const SchedOptions& options_;
  SeqTable& seqs_;
  cache::KvCache& cache_;
  Tick now_;
  PlanRecord& out_;
  const std::vector<SeqId>& order_;
  size_t n_candidates_;  // places from here on hold no victims any more
  cache::PlanEdits edits_;
  uint32_t prefill_left_ = 0;  // prefill rows still to give
  uint32_t draft_left_ = 0;    // rows for proposals still to give
  Side side_ = Side::kBoth;
  bool admit_open_ = true;
  bool head_ = true;  // nobody asked yet
  uint32_t n_refused_ = 0;
};

Scheduler::Scheduler(const SchedOptions& options, const flow::KvGeometry& kv)
    : options_(options),
      places_(options),
      admit_(row_of(options.admit).make(options)),
      budget_(row_of(options.budget).make(options)),
      victim_(make_victim(options)),
      cost_(options.cost_split),
      slack_(options),
      max_len_(kv.max_len),
      block_tokens_(kv.block_tokens) {
  refused_.reserve(kMostRefusals);
  takeable_.reserve(options.max_live);
  victims_.reserve(options.max_live);
}

void Scheduler::add_prompt(const Seq& seq, BudgetView& view) const {
  if (view.n_prompts++ == 0) view.prefill_ctx = seq.progress.computed;
  view.n_pending += rows_left(seq);
  bool read_out = seq.request->sampling.max_tokens == 0;
  view.n_answer += read_out ? lengths_.mean() : expected_output(seq, lengths_.mean());
}

uint32_t Scheduler::rows_left(const Seq& seq) const {
  uint32_t cached = seq.state == SeqState::kLive ? 0 : seq.memo.n_blocks * block_tokens_;
  return seq.n_known() - std::max(seq.progress.computed, cached);
}

PrefillOutlook Scheduler::outlook(const SeqTable& seqs, std::span<const SeqId> ids) const {
  PrefillOutlook outlook;
  BudgetView view{.cost = cost_, .now = 0};
  for (SeqId id : ids) {
    const Seq& seq = seqs.at(id);
    if (seq.state != SeqState::kLive) {
      if (!seq.parked) add_prompt(seq, view);
      continue;
    }
    uint32_t left = seq.n_known() + seq.progress.placeholders + seq.progress.n_drafted - seq.progress.computed;
    if (left > 1) {
      outlook.n_pending += left;
      add_prompt(seq, view);
    }
    if (left > 1 || seq.parked) continue;
    ++view.decodes.n_decode;
    view.decodes.ctx_decode += seq.progress.computed;
  }
  if (!cost_.known()) return outlook;
  view.most_rows = options_.tok_cap - view.decodes.n_decode;
  view.due = view.decodes.n_decode > 0 ? options_.itl_target : 0;
  Tick limit = options_.budget == BudgetKind::kStatic ? INT64_MAX : slack_.limit(view);
  uint32_t rows = std::max(slack_.prefill_rows(view, limit, 0), 1u);
  outlook.row = std::max<Tick>(slack_.predict(view, rows) / rows, 1);
  if (view.decodes.n_decode > 0) outlook.decode_step = cost_.predict(view.decodes);
  return outlook;
}

Tick Scheduler::first_token_at(SeqTable& seqs, const cache::KvCache& cache, SeqId id, Tick now) {
  if (!cost_.known()) return 0;
  OrderView view{.seqs = seqs, .cache = cache, .cost = cost_, .now = now};
  places_.build_all(view);
  Tick wait = forecast_first_token(
      {.list = view, .order = places_.ids(), .outlook = outlook(seqs, places_.ids()), .usual_output = lengths_.mean()},
      id);
  return wait == 0 ? 0 : now + wait;
}

bool Scheduler::plan(SeqTable& seqs, cache::KvCache& cache, Tick now, PlanRecord& out) {
  out.clear();
  out.planned_at = now;
  out.plan.step = next_step_;
  out.plan.blocks.swap(cache.carried());
  places_.build({.seqs = seqs, .cache = cache, .cost = cost_, .now = now}, seqs.n_free_slots() > 0);
  uint64_t n_faults = cache.n_faults();
  for (bool any : {false, true}) {
    Run run(*this, seqs, cache, now, out);
    run.divide(any);
    run.walk();
    if (!out.plan.shares.empty() || run.side() == Side::kBoth || cache.n_faults() != n_faults) break;
  }
  cache.settle();
  if (out.plan.shares.empty()) {
    std::vector<flow::BlockDelta>& carried = cache.carried();
    carried.insert(carried.begin(), out.plan.blocks.begin(), out.plan.blocks.end());
    out.plan.blocks.clear();
    return false;
  }
  seqs.take_freed_slots(out.plan.freed_slots);
  out.plan.state_hash = hash_plan(out.plan);
  if (cost_.known()) out.predicted = cost_.predict(out.shape);
  ++next_step_;
  return true;
}

}  // namespace millrace::sched
