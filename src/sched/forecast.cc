#include "sched/forecast.h"

#include <algorithm>
#include <vector>

#include "sched/expected_output.h"
#include "sched/prefix_rank.h"

namespace millrace::sched {
namespace {

uint64_t rows_left(const Seq& seq, uint32_t n_cached) {
  uint32_t known = seq.n_known() + seq.progress.placeholders;
  uint32_t done = seq.state == SeqState::kLive ? seq.progress.computed : n_cached;
  return known > done ? known - done : 0;
}

// Rows before it in the list, and who waits for a slot before it.
struct Before {
  uint64_t n_rows = 0;
  size_t n_waiting = 0;
};

// ns until the (n + 1)-th of the live sequences is expected to have ended.
Tick slot_free_after(const ForecastView& view, size_t n) {
  const SeqTable& seqs = view.list.seqs;
  const std::vector<SeqId>& live = seqs.live();
  if (live.empty()) return 0;
  StepShape all{.n_decode = static_cast<uint32_t>(live.size())};
  std::vector<Tick> ends;
  for (SeqId id : live) all.ctx_decode += seqs.at(id).progress.computed;
  Tick step = std::max(view.outlook.decode_step, view.list.cost.predict(all));
  for (SeqId id : live) {
    const Seq& seq = seqs.at(id);
    auto n_output = static_cast<uint32_t>(seq.outputs.size());
    uint32_t expected = expected_output(seq, view.usual_output);
    uint64_t left = rows_left(seq, 0);
    ends.push_back(static_cast<Tick>(left > 1 ? left : 0) * view.outlook.row +
                   static_cast<Tick>(expected - std::min(expected, n_output)) * step);
  }
  size_t wave = n / ends.size();
  auto nth = ends.begin() + static_cast<std::ptrdiff_t>(n % ends.size());
  std::nth_element(ends.begin(), nth, ends.end());
  return *nth + static_cast<Tick>(wave) * static_cast<Tick>(view.usual_output) * step;
}

}  // namespace

Tick forecast_first_token(const ForecastView& view, SeqId id) {
  if (view.outlook.row == 0) return 0;
  const SeqTable& seqs = view.list.seqs;
  PrefixPeek peek;
  Before before;
  for (SeqId other : view.order) {
    if (other == id) break;
    const Seq& seq = seqs.at(other);
    if (seq.parked || seq.held) continue;
    bool live = seq.state == SeqState::kLive;
    uint64_t rows = rows_left(seq, live ? 0 : peek.cached_tokens(view.list, other));
    if (!live || rows > 1) before.n_rows += rows;
    before.n_waiting += live ? 0 : 1;
  }
  uint64_t own = rows_left(seqs.at(id), peek.cached_tokens(view.list, id));
  auto row = view.outlook.row;
  Tick rows_ns = static_cast<Tick>(before.n_rows + own) * row;
  size_t n_free = seqs.n_free_slots();
  if (before.n_waiting >= n_free) {
    Tick slot = slot_free_after(view, before.n_waiting - n_free);
    rows_ns = std::max(rows_ns, slot + static_cast<Tick>(own) * row);
  }
  StepShape alone{.n_prefill = static_cast<uint32_t>(own), .ctx_prefill = row_context(0, own)};
  return std::max({rows_ns, view.outlook.decode_step, view.list.cost.predict(alone)});
}

}  // namespace millrace::sched
