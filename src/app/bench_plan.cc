// millrace bench plan: time of Scheduler::plan() for each order, with the other policies that serve uses: 256 decoding
// sequences and one prompt of 2,048 tokens in progress, with and without a queue of 512 requests of 8 tenants, and with
// a new prompt of 2,048 tokens that starts and is computed whole in that plan. Prints the median in microseconds; the
// goal is 50. What is tested is the number of instructions: tools/check/plan_instructions.py.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <optional>

#include "app/commands.h"
#include "app/flags.h"
#include "app/policy_flags.h"
#include "base/macros.h"
#include "sched/scheduler.h"

namespace millrace::app {
namespace {

constexpr uint32_t kDecodes = 256;

class Load {
 public:
  explicit Load(const sched::SchedOptions& options)
      : kv_{.block_tokens = 32, .n_blocks = 60'000, .block_bytes = 1, .max_len = 8192, .groups = {{}}},
        cache_(kv_, {}),
        seqs_(options),
        sched_(options, kv_) {}

  void add(uint32_t n_prompt, uint32_t max_tokens, uint32_t tenant, uint32_t weight = 1) {
    flow::GenerateRequest& request = requests_.emplace_back();
    request.id = requests_.size();
    request.tenant = tenant;
    request.weight = weight;
    request.prompt.assign(n_prompt, static_cast<TokenId>(request.id % 50));
    for (uint32_t i = 0; i < n_prompt; i += 3) request.prompt[i] = static_cast<TokenId>((i * 7 + request.id) % 1000);
    request.sampling.max_tokens = max_tokens;
    seqs_.create(request, 0, request.id, now_).outputs.reserve(max_tokens);
  }

  uint32_t n_prompt_rows() const { return record_.n_prompt_rows; }

  // Those who were admitted by the last plan are done.
  void end_newcomers() {
    for (sched::SeqId id : record_.first_admitted) {
      sched::Seq& seq = seqs_.at(id);
      seqs_.end(seq);
      cache_.release(seq.kv);
      seqs_.destroy(seq);
    }
  }

  // Microseconds of plan().
  double step() {
    now_ += kMillisecond;
    auto begin = std::chrono::steady_clock::now();
    sched_.plan(seqs_, cache_, now_, record_);
    std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
    for (size_t i = 0; i < record_.seqs.size(); ++i) {
      sched::Seq& seq = seqs_.at(record_.seqs[i]);
      --seq.progress.in_flight;
      if (!record_.plan.shares[i].sample) continue;
      --seq.progress.placeholders;
      seq.outputs.push_back(1);
      cache_.publish(seq.kv, seq.tokens(), std::min(seq.progress.computed, seq.n_known()));
    }
    cache_.settle();
    cache_.retire(record_.plan.step);
    sched_.observe(record_, kMillisecond + record_.plan.n_rows() * 50 * kMicrosecond);
    return took.count();
  }

 private:
  flow::KvGeometry kv_;
  cache::KvCache cache_;
  sched::SeqTable seqs_;
  sched::Scheduler sched_;
  sched::PlanRecord record_;
  std::deque<flow::GenerateRequest> requests_;
  Tick now_ = 0;
};

sched::SchedOptions options_of(const sched::OrderRow& row, uint32_t n_prompt_rows, sched::BudgetKind budget) {
  sched::SchedOptions options;
  options.order = row.kind;
  options.admit = sched::AdmitKind::kPredictive;
  options.budget = budget;
  options.max_live = kDecodes + 2;  // a free slot: the queue is looked at
  options.budget_tokens = kDecodes + n_prompt_rows;
  options.tok_cap = std::max(options.budget_tokens + options.max_live, 1024u);
  return options;
}

void begin_decodes(Load& load) {
  for (uint32_t i = 0; i < kDecodes; ++i) load.add(6, 4096, i % 8);
  for (uint32_t i = 0; i < kDecodes; ++i) load.step();
}

double median_of(std::vector<double> samples) {
  auto middle = samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2);
  std::nth_element(samples.begin(), middle, samples.end());
  return *middle;
}

double median_us(const sched::OrderRow& row, uint32_t n_queued, int n_steps) {
  Load load(options_of(row, 6, sched::BudgetKind::kSlack));  // the long prompt stays in progress
  begin_decodes(load);
  load.add(2048, 16, 8, 1000);  // of a tenant that is owed most: nobody passes it and takes the free slot
  load.step();
  for (uint32_t i = 0; i < n_queued; ++i) load.add(100 + i, 16, i % 8);
  std::vector<double> samples;
  for (int i = 0; i < n_steps; ++i) samples.push_back(load.step());
  return median_of(std::move(samples));
}

// Each plan starts a prompt of n_rows tokens and computes all of it, which slack would divide.
Result<double> median_with_chunk_us(const sched::OrderRow& row, uint32_t n_rows, int n_steps) {
  Load load(options_of(row, n_rows, sched::BudgetKind::kStatic));
  begin_decodes(load);
  std::vector<double> samples;
  for (int i = 0; i < n_steps; ++i) {
    load.add(n_rows, 1, 8);
    samples.push_back(load.step());
    if (load.n_prompt_rows() != n_rows)
      return Error{ErrorCode::kInternal, fmt::format("a plan with {} prompt rows of {}", load.n_prompt_rows(), n_rows),
                   ""};
    load.end_newcomers();
  }
  return median_of(std::move(samples));
}

}  // namespace

Result<int> bench_plan_command(std::span<const std::string> args) {
  FlagSet set("bench plan", "Time of planning a step, for each order of --scheduling-policy.");
  std::string only;
  int64_t n_queued = 512;
  int64_t n_chunk = 2048;
  int64_t n_steps = 200;
  set.add("--order", &only, "one order of --scheduling-policy; default: all");
  set.add("--queue", &n_queued, "waiting requests of the second column", {0, 1 << 16});
  set.add("--chunk", &n_chunk, "prompt rows of the third column; 0 = without it", {0, 1 << 13});
  set.add("--steps", &n_steps, "plans to take the median of", {1, 1000});
  if (!TRY(set.parse(args))) return 0;
  std::optional<sched::OrderKind> chosen;
  if (!only.empty()) chosen = TRY(policy_of("--order", only, sched::order_rows()));
  fmt::print("{:<10} {:>12} {:>12} {:>12}   (us, median of {})\n", "order", "no queue",
             fmt::format("queue {}", n_queued), n_chunk > 0 ? fmt::format("chunk {}", n_chunk) : "", n_steps);
  auto n = static_cast<int>(n_steps);
  for (const sched::OrderRow& row : sched::order_rows()) {
    if (chosen && *chosen != row.kind) continue;
    double calm = median_us(row, 0, n);
    double queued = median_us(row, static_cast<uint32_t>(n_queued), n);
    std::string chunk;
    if (n_chunk > 0) chunk = fmt::format("{:12.1f}", TRY(median_with_chunk_us(row, static_cast<uint32_t>(n_chunk), n)));
    fmt::print("{:<10} {:12.1f} {:12.1f} {}\n", row.name, calm, queued, chunk);
  }
  return 0;
}

}  // namespace millrace::app
