#include "sched/policies.h"

#include <array>

namespace millrace::sched {

// Of the policies' own files.
std::unique_ptr<Order> make_fcfs(const SchedOptions& options);
std::unique_ptr<Order> make_edf(const SchedOptions& options);
std::unique_ptr<Order> make_lpm(const SchedOptions& options);
std::unique_ptr<Order> make_dfs(const SchedOptions& options);
std::unique_ptr<Order> make_vtc(const SchedOptions& options);
std::unique_ptr<Order> make_dlpm(const SchedOptions& options);
std::unique_ptr<Admit> make_no_evict_peak(const SchedOptions& options);
std::unique_ptr<Admit> make_max_util(const SchedOptions& options);
std::unique_ptr<Admit> make_predictive(const SchedOptions& options);
std::unique_ptr<Admit> make_reserve(const SchedOptions& options);
std::unique_ptr<Budget> make_static_budget(const SchedOptions& options);
std::unique_ptr<Budget> make_slack_budget(const SchedOptions& options);
std::unique_ptr<Budget> make_exclusive_budget(const SchedOptions& options);
std::unique_ptr<Budget> make_prefill_first_budget(const SchedOptions& options);
std::unique_ptr<Budget> make_alternate_budget(const SchedOptions& options);

namespace {

// A row's kind is its place, so that a new policy at the end needs no name in the enum; those that other code speaks of
// have one.
template <class Row, size_t N>
constexpr std::array<Row, N> numbered(const Row (&rows)[N]) {
  std::array<Row, N> out = std::to_array(rows);
  for (size_t i = 0; i < N; ++i) out[i].kind = static_cast<decltype(Row::kind)>(i);
  return out;
}

constexpr auto kOrders = numbered<OrderRow>({
    {"fcfs", false, true, make_fcfs, "first come, first served"},
    {"priority", true, true, make_fcfs, "higher priority first, then arrival"},
    {"edf", true, true, make_edf, "least slack to the deadline first, hopeless ones last"},
    {"lpm", true, true, make_lpm, "longest cached prefix first"},
    {"dfs", true, true, make_dfs, "depth first over the prefix tree of the waiting"},
    {"vtc", true, false, make_vtc, "the tenant that got least service first"},
    {"dlpm", true, false, make_dlpm, "longest cached prefix first, tenants take turns"},
});

constexpr auto kAdmits = numbered<AdmitRow>({
    {"no-evict-peak", false, false, make_no_evict_peak, "the largest possible need fits; nothing is ever preempted"},
    {"max-util", true, false, make_max_util, "the prompt fits now; preempt later if need be"},
    {"predictive", true, true, make_predictive, "the expected need fits"},
    {"reserve", false, false, make_reserve, "yardstick: prompt and asked-for output of all fit at once"},
});

constexpr auto kBudgets = numbered<BudgetRow>({
    {"static", make_static_budget, "a fixed number of rows"},
    {"slack", make_slack_budget, "as many prompt rows as the next tokens of streams leave time for"},
    {"exclusive", make_exclusive_budget, "slack, and prompt rows in steps of their own where that is faster"},
    {"prefill-first", make_prefill_first_budget, "yardstick: prompts before any decode"},
    {"alternate", make_alternate_budget, "yardstick: prompt steps and decode steps in turn"},
});

// The rows stand in the order of the enums.
constexpr auto name_of = [](const auto& rows, auto kind) { return rows[static_cast<size_t>(kind)].name; };
static_assert(name_of(kOrders, OrderKind::kFcfs) == "fcfs" && name_of(kOrders, OrderKind::kDlpm) == "dlpm");
static_assert(name_of(kAdmits, AdmitKind::kPredictive) == "predictive");
static_assert(name_of(kAdmits, AdmitKind::kReserve) == "reserve");
static_assert(name_of(kBudgets, BudgetKind::kSlack) == "slack");
static_assert(name_of(kBudgets, BudgetKind::kAlternate) == "alternate");

}  // namespace

std::span<const OrderRow> order_rows() { return kOrders; }
std::span<const AdmitRow> admit_rows() { return kAdmits; }
std::span<const BudgetRow> budget_rows() { return kBudgets; }
const OrderRow& row_of(OrderKind kind) { return kOrders[static_cast<size_t>(kind)]; }
const AdmitRow& row_of(AdmitKind kind) { return kAdmits[static_cast<size_t>(kind)]; }
const BudgetRow& row_of(BudgetKind kind) { return kBudgets[static_cast<size_t>(kind)]; }

}  // namespace millrace::sched
