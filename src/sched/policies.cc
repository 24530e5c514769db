#include "sched/policies.h"

#include "base/macros.h"

namespace millrace::sched {
namespace {

constexpr OrderRow kOrders[] = {
    {OrderKind::kFcfs, "fcfs", false, true, make_fcfs, "first come, first served"},
    {OrderKind::kPriority, "priority", true, true, make_fcfs, "higher priority first, then arrival"},
    {OrderKind::kEdf, "edf", true, true, make_edf, "least slack to the deadline first, hopeless ones last"},
    {OrderKind::kLpm, "lpm", true, true, make_lpm, "longest cached prefix first"},
    {OrderKind::kDfs, "dfs", true, true, make_dfs, "depth first over the prefix tree of the waiting"},
    {OrderKind::kVtc, "vtc", true, false, make_vtc, "the tenant that got least service first"},
    {OrderKind::kDlpm, "dlpm", true, false, make_dlpm, "longest cached prefix first, tenants take turns"},
};

constexpr AdmitRow kAdmits[] = {
    {AdmitKind::kNoEvictPeak, "no-evict-peak", false, false, make_no_evict_peak,
     "the largest possible need fits; nothing is ever preempted"},
    {AdmitKind::kMaxUtil, "max-util", true, false, make_max_util, "the prompt fits now; preempt later if need be"},
    {AdmitKind::kPredictive, "predictive", true, true, make_predictive, "the expected need fits"},
    {AdmitKind::kReserve, "reserve", false, false, make_reserve,
     "yardstick: prompt and asked-for output of all fit at once"},
};

constexpr BudgetRow kBudgets[] = {
    {BudgetKind::kStatic, "static", make_static_budget, "a fixed number of rows"},
    {BudgetKind::kSlack, "slack", make_slack_budget,
     "as many prompt rows as the next tokens of streams leave time for"},
    {BudgetKind::kExclusive, "exclusive", make_exclusive_budget,
     "slack, and prompt rows in steps of their own where that is faster"},
    {BudgetKind::kPrefillFirst, "prefill-first", make_prefill_first_budget, "yardstick: prompts before any decode"},
    {BudgetKind::kAlternate, "alternate", make_alternate_budget, "yardstick: prompt steps and decode steps in turn"},
};

template <class Row, class Kind>
const Row& at(std::span<const Row> rows, Kind kind) {
  const Row& row = rows[static_cast<size_t>(kind)];
  CHECK(row.kind == kind, "policy rows are out of order at {}", row.name);
  return row;
}

}  // namespace

std::span<const OrderRow> order_rows() { return kOrders; }
std::span<const AdmitRow> admit_rows() { return kAdmits; }
std::span<const BudgetRow> budget_rows() { return kBudgets; }
const OrderRow& row_of(OrderKind kind) { return at(order_rows(), kind); }
const AdmitRow& row_of(AdmitKind kind) { return at(admit_rows(), kind); }
const BudgetRow& row_of(BudgetKind kind) { return at(budget_rows(), kind); }

}  // namespace millrace::sched
