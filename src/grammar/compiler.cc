#include "grammar/compiler.h"

#include <xgrammar/xgrammar.h>

#include <fmt/core.h>

#include <algorithm>
#include <list>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "base/clock.h"
#include "base/macros.h"
#include "base/out_of_memory.h"
#include "base/task_pool.h"
#include "grammar/compile_budget.h"
#include "grammar/forced_text.h"
#include "grammar/matcher.h"
#include "grammar/thrown_at.h"
#include "text/tokenizer.h"

namespace millrace::grammar {
namespace {

constexpr size_t kCacheBytes = size_t{64} << 20;
constexpr size_t kCacheEntries = 4096;
// A core of an AMD EPYC (Zen 4) does about 40,000 steps per ms, 2026-11-22. The fewer are what a thread does that
// shares two cores with the compute threads of somebody's stream: what is refused is refused within the time there,
// too. Masks cost by what the vocabulary holds, so that the same schema takes more of them with a larger one.
uint64_t steps_within(int64_t ms, size_t n_vocab) { return static_cast<uint64_t>(ms) * (10'000 + n_vocab / 9); }

constexpr uint64_t kTurnover = 64;  // bytes asked for in all, for each that may be held
constexpr int kCoreDepth = 2000;    // of the core's recursion: 25% of an 8 MiB stack

std::string key_of(const flow::ConstraintSpec& spec) {
  std::string key(1, static_cast<char>('0' + static_cast<int>(spec.kind)));
  key += spec.any_whitespace ? 'w' : '-';
  key += fmt::format("{}:{}{}:{}", spec.whitespace.size(), spec.whitespace, spec.after.size(), spec.after);
  for (const flow::Trigger& trigger : spec.triggers) {
    key += fmt::format("{},{},{}:{}", static_cast<int>(trigger.kind), trigger.token, trigger.text.size(), trigger.text);
  }
  key += '\0';
  key += spec.text;
  return key;
}

// What was compiled, or why it could not be, least recently used last.
class Cache {
 public:
  struct Entry {
    std::string key;
    Result<CompiledConstraint> result;
    size_t n_bytes = 0;
  };

  const Result<CompiledConstraint>* find(const std::string& key) {
    auto found = by_key_.find(key);
    if (found == by_key_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return &found->second->result;
  }

  void add(std::string key, const Result<CompiledConstraint>& result, size_t n_bytes) {
    if (by_key_.contains(key)) return;
    n_bytes += 2 * key.size() + sizeof(Entry);
    entries_.push_front({std::move(key), result, n_bytes});
    try {
      by_key_.emplace(entries_.front().key, entries_.begin());
    } catch (const std::bad_alloc&) {
      entries_.pop_front();
      throw;
    }
    n_bytes_ += n_bytes;
    while (entries_.size() > 1 && (n_bytes_ > kCacheBytes || entries_.size() > kCacheEntries)) {
      n_bytes_ -= entries_.back().n_bytes;
      by_key_.erase(entries_.back().key);
      entries_.pop_back();
    }
  }

  size_t size() const { return entries_.size(); }
  size_t n_bytes() const { return n_bytes_; }

 private:
  std::list<Entry> entries_;
  std::unordered_map<std::string_view, std::list<Entry>::iterator> by_key_;
  size_t n_bytes_ = 0;
};

// Of one compilation.
struct Cost {
  size_t n_bytes = 0;  // of what was made
  uint64_t n_steps = 0;
};

}  // namespace

struct Compiler::State {
  State(Vocabulary vocabulary_in, const Limits& limits_in) : vocabulary(std::move(vocabulary_in)), limits(limits_in) {}

  // The vocabulary is sorted when the first constraint comes, outside of any budget.
  const std::shared_ptr<const TokenTable>& token_table() {
    std::call_once(made, [&] {
      xgrammar::SetMaxRecursionDepth(kCoreDepth);
      tokens = std::make_shared<const TokenTable>(vocabulary);  // a copy: the next one needs it when this fails
      vocabulary = {};
    });
    return tokens;
  }

  Result<CompiledConstraint> compile(const flow::ConstraintSpec& spec, Cost& cost);
  Result<CompiledConstraint> run(const flow::ConstraintSpec& spec, const std::shared_ptr<const TokenTable>& table,
                                 Cost& cost);
  Result<CompiledConstraint> look_up_or_compile(const flow::ConstraintSpec& spec);

  Vocabulary vocabulary;
  Limits limits;
  std::once_flag made;
  std::shared_ptr<const TokenTable> tokens;
  mutable std::mutex mutex;
  Cache cache;    // guarded by mutex
  Counts counts;  // guarded by mutex
  SystemClock clock;
  Durations compile_times;
  std::shared_ptr<Durations> mask_times = std::make_shared<Durations>();
  std::unique_ptr<TaskPool> pool;  // last: its threads use the rest
};

// What the core throws ends here, and what the budget throws inside of reading.
Result<CompiledConstraint> Compiler::State::compile(const flow::ConstraintSpec& spec, Cost& cost) {
  const std::shared_ptr<const TokenTable>& table = token_table();
  int64_t ms = limits[LimitId::kCompileMs];
  auto costly = [&](std::string what) {
    return Error{ErrorCode::kConstraintTooCostly,
                 fmt::format("{}{}{}", spec.param, spec.param.empty() ? "" : ": ", what), spec.param};
  };
  int64_t core_ms = 2 * ms;  // a slow machine refuses nothing that is within the steps
  CompileBudget budget({.core_ms = core_ms,
                        .steps = steps_within(ms, table->n_vocab()),
                        .bytes = static_cast<uint64_t>(limits[LimitId::kCompileBytes]) * kTurnover});
  Result<CompiledConstraint> result = costly("cannot be compiled");
  try {
    result = run(spec, table, cost);
  } catch (const std::exception& error) {
    switch (budget.spent()) {
      case Spent::kTime:
        result = costly(fmt::format("takes longer to compile than {} ms", core_ms));
        break;
      case Spent::kWork:
        result = costly(fmt::format("takes more work to compile than fits into {} ms: {} steps, limit {}", ms,
                                    budget.n_steps(), steps_within(ms, table->n_vocab())));
        break;
      case Spent::kMemory:
        result = costly("takes too much memory to compile");
        break;
      case Spent::kNothing:
        if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) throw;  // says nothing about the constraint
        LOG(LogLevel::kWarning, "a constraint of {} bytes was refused by the core: {}", spec.text.size(),
            thrown_at(error.what()));
    }
  }
  cost.n_steps = budget.n_steps();
  return result;
}

Result<CompiledConstraint> Compiler::State::run(const flow::ConstraintSpec& spec,
                                                const std::shared_ptr<const TokenTable>& table, Cost& cost) {
  auto wrong = [&](Error error) {
    return Error{error.code, fmt::format("{}: {}", spec.param, error.message), spec.param};
  };
  Rules rules = TRY(read_constraint(spec, limits));
  Result<std::unique_ptr<Gate>> gate = Gate::read(spec, limits);
  if (!gate.ok()) return wrong(gate.take_error());
  std::string ebnf = to_ebnf(rules);
  if (!rules.lengths.empty()) {
    CompileBudget::Pause shared;  // what all constraints use
    table->lengths();
  }
  xgrammar::GrammarCompiler compiler(table->info(), 1, false);
  bool proposes = forced_text_is_short(rules);
  auto compiled = std::make_shared<CompiledGrammar>(table, compiler.CompileGrammar(ebnf), std::move(gate).value(),
                                                    std::move(rules.lengths), proposes, mask_times);
  for (const flow::Trigger& trigger : spec.triggers) {
    const bool is_text = trigger.kind == flow::TriggerKind::kWord || trigger.kind == flow::TriggerKind::kToken;
    const std::string text(trigger.kind == flow::TriggerKind::kToken ? table->text(trigger.token) : trigger.text);
    if (!is_text || text.empty() || compiled->begins_with(text)) continue;
    return wrong({ErrorCode::kInvalidGrammar,
                  fmt::format("no text of it begins with the trigger \"{}\"", quote_for_message(text)), ""});
  }
  cost.n_bytes = compiled->n_bytes();
  int64_t most = limits[LimitId::kCompileBytes];
  if (cost.n_bytes <= static_cast<size_t>(most)) return CompiledConstraint(std::move(compiled));
  return Error{
      ErrorCode::kConstraintTooCostly,
      fmt::format("{}{}compiled to {} bytes, limit {}", spec.param, spec.param.empty() ? "" : ": ", cost.n_bytes, most),
      spec.param};
}

Result<CompiledConstraint> Compiler::State::look_up_or_compile(const flow::ConstraintSpec& spec) {
  std::string key = key_of(spec);
  {
    std::lock_guard lock(mutex);
    if (const auto* known = cache.find(key)) {
      ++counts.n_found;
      return *known;
    }
  }
  Tick begin = clock.now();
  Cost cost;
  Result<CompiledConstraint> result = compile(spec, cost);
  Tick took = clock.now() - begin;
  compile_times.add(took);
  std::lock_guard lock(mutex);
  ++(result.ok() ? counts.n_compiled : counts.n_refused);
  counts.compile_time += took;
  counts.n_steps += cost.n_steps;
  cache.add(std::move(key), result, cost.n_bytes);
  return result;
}

Compiler::Compiler(Vocabulary vocabulary, const Limits& limits, size_t n_threads)
    : state_(std::make_unique<State>(std::move(vocabulary), limits)) {
  state_->pool = std::make_unique<TaskPool>(n_threads, static_cast<size_t>(limits[LimitId::kCompileQueue]));
}

Compiler::~Compiler() { state_->pool.reset(); }

Result<CompiledConstraint> Compiler::compile(const flow::ConstraintSpec& spec) {
  return or_out_of_memory("compiling a constraint", ErrorCode::kMemoryPressure,
                          [&] { return state_->look_up_or_compile(spec); });
}

Result<void> Compiler::post(flow::ConstraintSpec spec, Done done) {
  State& state = *state_;
  {
    std::unique_lock lock(state.mutex);
    if (const auto* known = state.cache.find(key_of(spec))) {
      ++state.counts.n_found;
      Result<CompiledConstraint> result = *known;
      lock.unlock();
      done(std::move(result));
      return {};
    }
  }
  bool posted = state.pool->try_post([&state, spec = std::move(spec), done = std::move(done)] {
    done(or_out_of_memory("compiling a constraint", ErrorCode::kMemoryPressure,
                          [&] { return state.look_up_or_compile(spec); }));
  });
  if (posted) return {};
  return Error{ErrorCode::kConstraintQueueFull,
               fmt::format("{} constraints wait to be compiled", state.limits[LimitId::kCompileQueue]), ""};
}

Compiler::Counts Compiler::counts() const {
  std::lock_guard lock(state_->mutex);
  Counts counts = state_->counts;
  counts.n_cached = state_->cache.size();
  counts.cached_bytes = state_->cache.n_bytes();
  return counts;
}

Durations& Compiler::compile_times() { return state_->compile_times; }

Durations& Compiler::mask_times() { return *state_->mask_times; }

Vocabulary vocabulary_of(const text::Tokenizer& tokenizer, std::span<const TokenId> end_tokens, size_t n_vocab) {
  Vocabulary out;
  out.tokens.resize(n_vocab);
  out.end_tokens.assign(end_tokens.begin(), end_tokens.end());
  const text::TokenizerSpec& spec = tokenizer.spec();
  for (size_t i = 0; i < std::min(n_vocab, tokenizer.n_vocab()); ++i) {
    auto id = static_cast<TokenId>(i);
    out.tokens[i] = tokenizer.token_bytes(id);
    text::TokenType type = i < spec.types.size() ? spec.types[i] : text::TokenType::kNormal;
    bool no_text = type == text::TokenType::kUnknown || type == text::TokenType::kUnused;
    if (tokenizer.is_special(id) || no_text || type == text::TokenType::kControl) out.specials.push_back(id);
  }
  out.encode = [&tokenizer](std::string_view text) {
    auto ids = tokenizer.encode(text, {.add_special = false, .parse_special = false});
    return ids.ok() ? std::move(ids).value() : std::vector<TokenId>();
  };
  return out;
}

}  // namespace millrace::grammar
