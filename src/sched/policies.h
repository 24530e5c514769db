// The tables of policies: one file and one row each, in policies.cc. To add one: docs/howto/add_policy.md.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "sched/policy.h"

namespace millrace::sched {

struct OrderRow {
  std::string_view name;  // of --scheduling-policy
  bool bands;             // higher bands first; false: every band counts as 0
  bool barriers_first;    // a barrier is served before all that never ran; false: the policy places it (fair ones)
  std::unique_ptr<Order> (*make)(const SchedOptions& options);
  std::string_view what;
  OrderKind kind{};  // its place in the table
};

struct AdmitRow {
  std::string_view name;  // of --admission-policy
  bool preempts;          // running sequences may lose their blocks
  bool patient;           // but first those that find no memory wait for others to end
  std::unique_ptr<Admit> (*make)(const SchedOptions& options);
  std::string_view what;
  AdmitKind kind{};  // its place in the table
};

struct BudgetRow {
  std::string_view name;  // of --budget-policy
  std::unique_ptr<Budget> (*make)(const SchedOptions& options);
  std::string_view what;
  BudgetKind kind{};  // its place in the table
};

// In the order of their kinds.
std::span<const OrderRow> order_rows();
std::span<const AdmitRow> admit_rows();
std::span<const BudgetRow> budget_rows();

const OrderRow& row_of(OrderKind kind);
const AdmitRow& row_of(AdmitKind kind);
const BudgetRow& row_of(BudgetKind kind);

// Null when no row has that name.
template <class Row>
const Row* find_row(std::span<const Row> rows, std::string_view name) {
  for (const Row& row : rows) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

std::unique_ptr<Victim> make_victim(const SchedOptions& options);

}  // namespace millrace::sched
