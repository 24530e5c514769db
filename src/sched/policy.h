// The four policies: pure functions of read-only state. Order says who comes first, Admit who may start, Budget how
// many rows a step has, Victim whose blocks may be taken. Thread: engine.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "sched/seq_table.h"

namespace millrace::sched {

// A waiting sequence that was passed over too often or too long: nobody is admitted past it.
bool is_barrier(const Seq& seq, Tick now, const SchedOptions& options);

class Order {
 public:
  virtual ~Order() = default;
  // The one list, best first: live sequences, then (if with_waiting) those that may be admitted, then parked live ones.
  virtual void place(const SeqTable& seqs, Tick now, bool with_waiting, std::vector<SeqId>& out) = 0;
  // Strict priority class; higher first.
  virtual int32_t band(const Seq& seq) const = 0;
};

struct AdmitView {
  const SeqTable& seqs;
  const cache::KvCache& cache;
  uint32_t n_takeable = 0;  // blocks of live sequences that the asker may preempt
  bool head = false;        // nobody before it wants tokens
};

class Admit {
 public:
  virtual ~Admit() = default;
  // May `seq`, whose table holds the matched prefix of `computed` tokens, start now?
  virtual bool ok(const AdmitView& view, const Seq& seq, uint32_t computed) const = 0;
};

struct StepBudget {
  uint32_t rows = 0;  // of the step; decodes always fit
};

class Budget {
 public:
  virtual ~Budget() = default;
  virtual StepBudget compute(const SeqTable& seqs, Tick now) const = 0;
};

class Victim {
 public:
  virtual ~Victim() = default;
  // May `asker` take the blocks of `victim`, which stands behind it? `head`: the asker is the head of the list.
  virtual bool may(const Seq& victim, const Seq& asker, Tick now, bool head) const = 0;
};

std::unique_ptr<Order> make_order(const SchedOptions& options);
std::unique_ptr<Admit> make_admit(const SchedOptions& options);
std::unique_ptr<Budget> make_budget(const SchedOptions& options);
std::unique_ptr<Victim> make_victim(const SchedOptions& options, const Order& order);

}  // namespace millrace::sched
