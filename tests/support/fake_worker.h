// FakeWorker: a flow::Backend without a model. The KV of a row is a hash of its token, position and the KV before it,
// read through the slot's block table; the next token is a hash of all KV the row can see. Any block that is lost,
// mixed up, overwritten or read too early changes the text. reference_text() says what the text must be.
// It also checks the contract of docs/contracts/step.md and keeps what it finds in violations().
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "flow/backend.h"
#include "flow/generate_request.h"
#include "flow/kv_geometry.h"

namespace millrace::support {

struct FakeWorkerOptions {
  flow::KvGeometry kv;
  uint32_t tok_cap = 1024;
  uint32_t n_vocab = 1000;  // tokens 0 .. n_vocab-1
  TokenId eos = 0;
  uint32_t eos_per_mille = 0;  // how often a row yields eos
  uint32_t delay = 0;          // done(step) turns true after this many calls
  uint32_t max_draft = 0;      // proposals behind a sampled token: 0 .. max_draft, about half of them wrong
};

// A request for max_tokens tokens behind a prompt of tokens 1 .. 49; prompts of a kind begin with the same tokens.
inline flow::GenerateRequest fake_request(flow::RequestId id, uint32_t n_prompt, uint32_t max_tokens, uint64_t kind) {
  flow::GenerateRequest request;
  request.id = id;
  for (uint32_t i = 0; i < n_prompt; ++i) request.prompt.push_back(static_cast<TokenId>(1 + (kind * 7 + i * i) % 49));
  request.sampling.max_tokens = max_tokens;
  request.sampling.ignore_eos = true;
  return request;
}

inline uint64_t fake_hash(uint64_t a, uint64_t b) {
  uint64_t h = (a ^ (b + 0x9e3779b97f4a7c15 + (a << 6) + (a >> 2))) * 0xff51afd7ed558ccd;
  return h ^ (h >> 32);
}

// The model: pure functions of what the KV holds.
struct FakeModel {
  const FakeWorkerOptions& options;

  // Nothing before `pos` is seen from there on: the first token, or that of a chunk.
  bool begins(uint32_t kv_group, uint32_t pos) const {
    const flow::KvGroup& group = options.kv.groups[kv_group];
    return pos == 0 || (group.kind == flow::KvGroupKind::kChunk && pos % group.window_tokens == 0);
  }
  uint64_t kv_of(TokenId token, uint32_t pos, uint32_t kv_group, uint64_t before) const {
    if (begins(kv_group, pos)) before = 0;
    return fake_hash(fake_hash(static_cast<uint32_t>(token), uint64_t{pos} << 8 | kv_group), before);
  }
  // Does a query at `pos` see the token at `other` <= pos? A window that the sequence asks for is one of Full KvGroups.
  bool sees(uint32_t kv_group, uint32_t pos, uint32_t other, uint32_t window, uint32_t sinks) const {
    const flow::KvGroup& group = options.kv.groups[kv_group];
    if (group.kind == flow::KvGroupKind::kWindow) return other + group.window_tokens > pos;
    if (group.kind == flow::KvGroupKind::kChunk) return other / group.window_tokens == pos / group.window_tokens;
    return window == 0 || other + window > pos || other < sinks;
  }
  TokenId choose(uint64_t seen, const flow::SamplingParams& sampling, uint32_t fork, uint32_t n_outputs) const {
    uint64_t h = fake_hash(fake_hash(seen, sampling.seed), uint64_t{fork} << 32 | n_outputs);
    bool may_end = n_outputs >= sampling.min_tokens;
    if (may_end && (h >> 40) % 1000 < options.eos_per_mille) return options.eos;
    auto token = static_cast<TokenId>(h % options.n_vocab);
    return token == options.eos ? static_cast<TokenId>((h + 1) % options.n_vocab) : token;
  }
  // The most likely tokens after the row whose KV this is.
  std::vector<flow::TokenLogprob> top(uint64_t kv, int32_t n_top) const {
    std::vector<flow::TokenLogprob> all;
    for (TokenId token = 0; token < static_cast<TokenId>(options.n_vocab); ++token) {
      float logprob = -static_cast<float>(fake_hash(kv, static_cast<uint32_t>(token)) % 1000003) / 100000.0f;
      all.push_back({token, logprob, 0});
    }
    std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.logprob > b.logprob; });
    all.resize(std::min(all.size(), static_cast<size_t>(n_top)));
    for (size_t i = 0; i < all.size(); ++i) all[i].rank = static_cast<int32_t>(i + 1);
    return all;
  }
  static float logprob(uint64_t kv, TokenId token) {
    return -static_cast<float>(fake_hash(kv, static_cast<uint32_t>(token)) % 1000) / 100.0f;
  }
};

struct FakeCell {
  uint64_t kv = 0;
  bool good = false;  // written by a step that did not fail
};

class FakeWorker final : public flow::Backend {
 public:
  explicit FakeWorker(FakeWorkerOptions options)
      : options_(std::move(options)),
        cells_(size_t{options_.kv.n_blocks} * options_.kv.block_tokens),
        owners_(options_.kv.n_blocks, 0),
        written_in_(options_.kv.n_blocks, 0) {}

  // Decides about each step before it runs: true = the whole step fails. And about each share.
  std::function<bool(const flow::StepPlan&)> fail_step;
  std::function<bool(const flow::Share&)> fail_share;

  // What a block holds, for tiers below the pool.
  std::vector<FakeCell> cells_of(flow::BlockId id) const {
    auto begin = cells_.begin() + static_cast<std::ptrdiff_t>(size_t{id} * options_.kv.block_tokens);
    return {begin, begin + options_.kv.block_tokens};
  }
  void set_cells(flow::BlockId id, const std::vector<FakeCell>& cells) {
    if (!pending_.empty()) violate("block {} is filled while a step is in flight", id);
    std::copy(cells.begin(), cells.end(),
              cells_.begin() + static_cast<std::ptrdiff_t>(size_t{id} * options_.kv.block_tokens));
  }

  // The same as bytes, for session files.
  std::span<uint8_t> bytes_of(flow::BlockId id) {
    if (!pending_.empty()) violate("block {} is copied while a step is in flight", id);
    size_t n = options_.kv.block_tokens;
    return {reinterpret_cast<uint8_t*>(&cells_[size_t{id} * n]), n * sizeof(FakeCell)};
  }

  const std::vector<std::string>& violations() const { return violations_; }
  uint64_t plans_hash() const { return plans_hash_; }  // of all state hashes so far
  uint64_t n_steps() const { return last_step_; }
  bool idle() const { return pending_.empty(); }  // no step is in flight

  void submit(const flow::StepPlan& plan) override {
    plans_hash_ = fake_hash(plans_hash_, plan.state_hash);
    if (plan.step != last_step_ + 1) violate("step {} after {}", plan.step, last_step_);
    last_step_ = plan.step;
    if (plan.shares.empty()) violate("step {}: no shares", plan.step);
    if (plan.n_rows() > options_.tok_cap) violate("step {}: {} rows", plan.step, plan.n_rows());
    Pending pending;
    pending.output.step = plan.step;
    bool tainted = std::any_of(pending_.begin(), pending_.end(), [](const Pending& p) { return !p.output.ok; });
    pending.output.ok = tainted || !(fail_step && fail_step(plan));
    pending.tainted = tainted || !pending.output.ok;
    if (!pending.output.ok) pending.output.error = {ErrorCode::kInternal, "the step failed", ""};
    quiet_ = tainted;
    update_tables(plan);
    write_rows(plan);
    for (const flow::Share& share : plan.shares) pending.output.shares.push_back(result_of(share));
    if (pending.tainted) scramble(plan);
    pending.output.took = Tick{1000} * plan.n_rows();
    pending_.push_back(std::move(pending));
    if (pending_.size() == 1) polls_ = 0;
  }
  bool done(uint64_t step) override {
    if (pending_.empty() || pending_.front().output.step != step) return false;
    return polls_++ >= options_.delay;
  }
  flow::StepOutput take_output(uint64_t step) override {
    if (pending_.empty() || pending_.front().output.step != step) violate("output of step {} is not there", step);
    flow::StepOutput output = std::move(pending_.front().output);
    pending_.pop_front();
    polls_ = 0;
    return output;
  }

 private:
  using Cell = FakeCell;
  struct Slot {
    std::vector<TokenId> tokens;
    std::vector<TokenId> draft;  // proposals behind `tokens`
    std::vector<flow::BlockId> tables[flow::kMaxKvGroups];
    uint32_t computed = 0;
    bool fresh = true;  // no share yet: its first ctx is what it says
    uint32_t input_len = 0;
    uint32_t fork = 0;
    uint32_t window = 0;
    uint32_t sinks = 0;
    const flow::SamplingParams* sampling = nullptr;
  };
  struct Pending {
    flow::StepOutput output;
    bool tainted = false;
  };

  template <class... Args>
  void violate(fmt::format_string<Args...> text, Args&&... args) {
    if (!quiet_ && violations_.size() < 20) violations_.push_back(fmt::format(text, std::forward<Args>(args)...));
  }

  Cell& cell(const Slot& slot, uint32_t kv_group, uint32_t pos) {
    uint32_t b = options_.kv.block_tokens;
    const std::vector<flow::BlockId>& table = slot.tables[kv_group];
    flow::BlockId id = pos / b < table.size() ? table[pos / b] : flow::kNullBlock;
    if (id == flow::kNullBlock) {
      violate("position {} of KvGroup {} has no block", pos, kv_group);
      return nothing_;
    }
    return cells_[size_t{id} * b + pos % b];
  }

  void close(Slot& slot) {
    for (auto& table : slot.tables) {
      for (flow::BlockId id : table) {
        if (id != flow::kNullBlock) --owners_[id];
      }
    }
  }

  void update_tables(const flow::StepPlan& plan) {
    for (flow::SlotId id : plan.freed_slots) {
      auto found = slots_.find(id);
      if (found == slots_.end()) {
        violate("step {}: slot {} is freed and not open", plan.step, id);
        continue;
      }
      for (const flow::Share& share : plan.shares) {
        if (share.slot == id) violate("step {}: slot {} is freed and has a share", plan.step, id);
      }
      close(found->second);
      slots_.erase(found);
    }
    for (const flow::SlotInit& init : plan.new_slots) {
      close(slots_[init.slot]);  // a slot that was not named in freed_slots is replaced
      Slot slot;
      slot.tokens = init.tokens;
      slot.input_len = init.input_len;
      slot.fork = init.fork;
      slot.window = init.window_tokens;
      slot.sinks = init.sink_tokens;
      slot.sampling = init.sampling;
      slots_[init.slot] = std::move(slot);
    }
    for (const flow::BlockDelta& delta : plan.blocks) {
      auto found = slots_.find(delta.slot);
      if (found == slots_.end()) {
        violate("step {}: a block for slot {}, which is not open", plan.step, delta.slot);
        continue;
      }
      std::vector<flow::BlockId>& table = found->second.tables[delta.kv_group];
      if (delta.index > table.size()) violate("step {}: slot {} skips to entry {}", plan.step, delta.slot, delta.index);
      if (delta.index >= table.size()) table.resize(delta.index + 1, flow::kNullBlock);
      if (table[delta.index] != flow::kNullBlock) --owners_[table[delta.index]];
      if (delta.id != flow::kNullBlock) ++owners_[delta.id];
      table[delta.index] = delta.id;
    }
    uint32_t b = options_.kv.block_tokens;
    for (const flow::CopyOp& copy : plan.cow) {
      for (uint32_t i = 0; i < copy.tokens; ++i) cells_[size_t{copy.dst} * b + i] = cells_[size_t{copy.src} * b + i];
    }
  }

  void write_rows(const flow::StepPlan& plan) {
    for (const flow::Share& share : plan.shares) {
      Slot& slot = slots_[share.slot];
      uint32_t end = share.ctx + share.q_len - share.n_draft;  // of known tokens
      if (share.q_len <= share.n_draft) violate("step {}: slot {} has no rows", plan.step, share.slot);
      if (slot.sampling == nullptr || end > slot.tokens.size()) {
        violate("step {}: slot {} computes {} of {} known tokens", plan.step, share.slot, end, slot.tokens.size());
        continue;
      }
      bool behind_all = share.sample && end == slot.tokens.size();
      if (share.n_draft > 0 && (!behind_all || share.n_draft > slot.draft.size())) {
        violate("step {}: slot {} checks {} of {} proposals", plan.step, share.slot, share.n_draft, slot.draft.size());
        continue;
      }
      if (!slot.fresh && share.ctx != slot.computed) {
        violate("step {}: slot {} is at {}, the plan says {}", plan.step, share.slot, slot.computed, share.ctx);
      }
      slot.fresh = false;
      slot.draft.resize(share.n_draft);
      slot.tokens.insert(slot.tokens.end(), slot.draft.begin(), slot.draft.end());
      for (uint32_t g = 0; g < options_.kv.groups.size(); ++g) write_group(plan, share, slot, g);
      slot.tokens.resize(slot.tokens.size() - share.n_draft);
      slot.computed = end;
      if (behind_all) sample(slot, share.ctx + share.q_len);
    }
  }

  // The tokens behind the known ones: one, and one more for each proposal that was right. Then the next proposals.
  // `end`: of the rows that were written.
  void sample(Slot& slot, uint32_t end) {
    std::vector<TokenId> draft = std::exchange(slot.draft, {});
    slot.tokens.push_back(next_token(slot, slot.computed));
    for (size_t i = 0; i < draft.size() && slot.tokens.back() == draft[i]; ++i) {
      slot.tokens.push_back(next_token(slot, ++slot.computed));
    }
    for (uint32_t g = 0; g < options_.kv.groups.size(); ++g) give_back(slot, g, end);
    if (options_.max_draft > 0) propose(slot);
  }

  // Proposals that were wrong, up to `end`: not to be read, and blocks without any other row are the engine's again.
  void give_back(Slot& slot, uint32_t g, uint32_t end) {
    for (uint32_t pos = slot.computed; pos < end; ++pos) cell(slot, g, pos).good = false;
    std::vector<flow::BlockId>& table = slot.tables[g];
    for (; slot.computed < end && table.size() * options_.kv.block_tokens >= slot.computed + options_.kv.block_tokens;
         table.pop_back()) {
      if (table.back() != flow::kNullBlock) --owners_[table.back()];
    }
  }

  // What the model says next, of hypothetical KV; each with a chance to be another token.
  void propose(Slot& slot) {
    FakeModel model{options_};
    uint64_t luck = fake_hash(slot.tokens.size(), static_cast<uint32_t>(slot.tokens.back()));
    auto n = static_cast<uint32_t>(luck % (options_.max_draft + 1));
    std::vector<TokenId> tokens = slot.tokens;
    for (uint32_t i = 0; i < n; ++i, luck = fake_hash(luck, i)) {
      TokenId right = model.choose(seen_behind(slot, tokens), *slot.sampling, slot.fork,
                                   static_cast<uint32_t>(tokens.size()) - slot.input_len);
      auto wrong = static_cast<TokenId>((static_cast<uint32_t>(right) + 1) % options_.n_vocab);
      tokens.push_back((luck >> 20) % 4 == 0 ? wrong : right);
      slot.draft.push_back(tokens.back());
    }
  }

  // What the last of `tokens` sees; those from slot.computed on are not in the KV.
  uint64_t seen_behind(const Slot& slot, const std::vector<TokenId>& tokens) {
    FakeModel model{options_};
    uint64_t seen = 0;
    auto end = static_cast<uint32_t>(tokens.size());
    for (uint32_t g = 0; g < options_.kv.groups.size(); ++g) {
      uint64_t kv = 0;
      if (slot.computed > 0) kv = cell(slot, g, slot.computed - 1).kv;
      for (uint32_t pos = 0; pos < end; ++pos) {
        bool visible = model.sees(g, end - 1, pos, slot.window, slot.sinks);
        if (pos >= slot.computed) kv = model.kv_of(tokens[pos], pos, g, kv);
        if (visible) seen = fake_hash(seen, pos < slot.computed ? cell(slot, g, pos).kv : kv);
      }
    }
    return seen;
  }

  void write_group(const flow::StepPlan& plan, const flow::Share& share, Slot& slot, uint32_t g) {
    FakeModel model{options_};
    for (uint32_t pos = share.ctx; pos < share.ctx + share.q_len; ++pos) {
      uint64_t before = 0;
      if (!model.begins(g, pos)) {
        const Cell& last = cell(slot, g, pos - 1);
        if (!last.good) violate("step {}: slot {} reads unwritten or failed KV at {}", plan.step, share.slot, pos - 1);
        before = last.kv;
      }
      uint32_t index = pos / options_.kv.block_tokens;
      if (pos == share.ctx || pos % options_.kv.block_tokens == 0) check_writer(plan, share.slot, slot, g, index);
      cell(slot, g, pos) = {.kv = model.kv_of(slot.tokens[pos], pos, g, before), .good = true};
    }
  }

  // A written block is in no other table, but for those of slots that open in this step and come later in it.
  void check_writer(const flow::StepPlan& plan, flow::SlotId id, const Slot& slot, uint32_t g, uint32_t index) {
    if (index >= slot.tables[g].size() || slot.tables[g][index] == flow::kNullBlock) return;
    flow::BlockId block = slot.tables[g][index];
    if (written_in_[block] == plan.step) violate("step {}: block {} is written by two shares", plan.step, block);
    written_in_[block] = plan.step;
    if (owners_[block] == 1) return;
    for (const auto& [other_id, other] : slots_) {
      if (other_id == id || other.fresh) continue;
      for (const auto& table : other.tables) {
        bool held = std::find(table.begin(), table.end(), block) != table.end();
        if (held) violate("step {}: slot {} writes block {}, which slot {} holds", plan.step, id, block, other_id);
      }
    }
  }

  // The token after position end - 1.
  TokenId next_token(const Slot& slot, uint32_t end) {
    FakeModel model{options_};
    uint64_t seen = 0;
    for (uint32_t g = 0; g < options_.kv.groups.size(); ++g) {
      for (uint32_t pos = 0; pos < end; ++pos) {
        if (!model.sees(g, end - 1, pos, slot.window, slot.sinks)) continue;
        const Cell& c = cell(slot, g, pos);
        if (!c.good) violate("slot reads unwritten or failed KV at {}", pos);
        seen = fake_hash(seen, c.kv);
      }
    }
    return model.choose(seen, *slot.sampling, slot.fork, end - slot.input_len);
  }

  flow::ShareResult result_of(const flow::Share& share) {
    const Slot& slot = slots_[share.slot];
    flow::ShareResult result;
    result.slot = share.slot;
    result.epoch = share.epoch;
    if (fail_share && fail_share(share)) {
      result.failed = true;
      result.error = {ErrorCode::kInternal, "non-finite logits", ""};
      return result;
    }
    uint32_t end = share.ctx + share.q_len - share.n_draft;
    if (share.sample && end < slot.tokens.size()) {
      result.token = slot.tokens[end];
      result.logprobs = logprobs_of(slot, end);
      for (uint32_t pos = end + 1; pos < slot.tokens.size(); ++pos) {
        result.further.push_back({slot.tokens[pos], logprobs_of(slot, pos)});
      }
      result.n_proposed = static_cast<uint16_t>(slot.draft.size());
    }
    if (share.prompt_logprobs) {
      for (uint32_t pos = share.ctx; pos < end && pos + 1 < slot.input_len; ++pos) {
        TokenId next = slot.tokens[pos + 1];
        result.prompt_logprobs.push_back(
            {.chosen = {next, FakeModel::logprob(cell(slot, 0, pos).kv, next), 1}, .top = {}});
      }
    }
    return result;
  }

  // Of the token at `pos`; null when none are wanted.
  std::unique_ptr<flow::PositionLogprobs> logprobs_of(const Slot& slot, uint32_t pos) {
    if (slot.sampling->n_logprobs < 0) return nullptr;
    auto out = std::make_unique<flow::PositionLogprobs>();
    uint64_t kv = cell(slot, 0, pos - 1).kv;
    out->chosen = {slot.tokens[pos], FakeModel::logprob(kv, slot.tokens[pos]), 1};
    if (slot.sampling->n_logprobs > 1) out->top = FakeModel{options_}.top(kv, slot.sampling->n_logprobs);
    return out;
  }

  // What a failed step leaves behind.
  void scramble(const flow::StepPlan& plan) {
    for (const flow::Share& share : plan.shares) {
      const Slot& slot = slots_[share.slot];
      for (uint32_t g = 0; g < options_.kv.groups.size(); ++g) {
        for (uint32_t pos = share.ctx; pos < slot.computed; ++pos) {
          cell(slot, g, pos) = {.kv = 0xbadbadbadbadbad, .good = false};
        }
      }
    }
  }

  FakeWorkerOptions options_;
  std::vector<Cell> cells_;           // [n_blocks, block_tokens]; a block belongs to one KvGroup at a time
  std::vector<uint32_t> owners_;      // table entries that name the block
  std::vector<uint64_t> written_in_;  // step that last wrote rows of the block
  std::unordered_map<flow::SlotId, Slot> slots_;
  std::deque<Pending> pending_;
  std::vector<std::string> violations_;
  Cell nothing_;
  uint64_t last_step_ = 0;
  uint64_t plans_hash_ = 0;
  uint32_t polls_ = 0;
  bool quiet_ = false;  // after a failed step until the engine knows: its plans read garbage
};

struct FakeText {
  std::vector<TokenId> tokens;
  flow::FinishReason finish = flow::FinishReason::kNone;
};

// What fork `fork` of the request must produce alone, computed without blocks, cache or scheduler.
inline FakeText reference_text(const FakeWorkerOptions& options, const flow::GenerateRequest& request, uint32_t fork,
                               uint32_t max_len) {
  FakeModel model{options};
  FakeText text;
  std::vector<TokenId> tokens = request.prompt;
  std::vector<std::vector<uint64_t>> kv(options.kv.groups.size());
  const flow::SamplingParams& sampling = request.sampling;
  auto names = [](const std::vector<TokenId>& ids, TokenId id) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  while (text.finish == flow::FinishReason::kNone) {
    if (sampling.max_tokens == 0) {
      text.finish = flow::FinishReason::kLength;
      break;
    }
    uint64_t seen = 0;
    auto end = static_cast<uint32_t>(tokens.size());
    for (uint32_t g = 0; g < kv.size(); ++g) {
      for (auto pos = static_cast<uint32_t>(kv[g].size()); pos < end; ++pos) {
        kv[g].push_back(model.kv_of(tokens[pos], pos, g, pos > 0 ? kv[g][pos - 1] : 0));
      }
      for (uint32_t pos = 0; pos < end; ++pos) {
        if (model.sees(g, end - 1, pos, request.window_tokens, request.sink_tokens)) seen = fake_hash(seen, kv[g][pos]);
      }
    }
    TokenId token = model.choose(seen, sampling, fork, static_cast<uint32_t>(text.tokens.size()));
    tokens.push_back(token);
    text.tokens.push_back(token);
    if (text.tokens.size() > sampling.min_tokens) {
      if (!sampling.ignore_eos && names(sampling.eos_token_ids, token)) {
        text.finish = flow::FinishReason::kEos;
        break;
      }
      if (names(sampling.stop_token_ids, token)) {
        text.finish = flow::FinishReason::kStopToken;
        break;
      }
    }
    if (text.tokens.size() >= sampling.max_tokens || tokens.size() >= max_len)
      text.finish = flow::FinishReason::kLength;
  }
  return text;
}

}  // namespace millrace::support
