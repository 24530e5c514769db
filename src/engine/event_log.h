// EventLog: everything that decides what an engine does, written as it happens: messages, outputs and the clock at
// each. The same log played to a new engine gives the same plans (src/sim/replay.h).
//  1. One record per step() that could change anything. Numbers are LEB128, signed ones zig-zag. Persistent: a change
//  of
//     the layout raises kEventLogVersion.
//  2. Bounded: past max_bytes the log ends with a mark, the engine goes on.
//  3. What only shapes a distribution (temperature, ...) and log probabilities are left out: the tokens are there.
//  Beams
//     are chosen by log probabilities, so theirs are in.
//  4. Of a tier and of sessions there is what they answered and what was asked for; no bytes of KV.
// Layout: magic, version (1 byte), length-prefixed JSON (RecordedSetup), records, each kStep ..., at last kEnd or kCut.
// kStep: now, n messages, each (kind, id, fork, with kSubmit the request, with kSession the task), planned (0 | 1, then
// 8 bytes state hash), n outputs, each (step, now, took, ok, error code, n shares, each (flags, token, n prompt
// logprobs, candidates)), n answers of the tier, each (TierAnswer, value). Thread: engine.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "engine/inbox.h"
#include "flow/step_plan.h"
#include "flow/tier_store.h"

namespace millrace::engine {

struct EngineOptions;

constexpr std::string_view kEventLogMagic = "MRLOG";
constexpr uint8_t kEventLogVersion = 5;

enum class EventRecord : uint8_t { kStep = 1, kEnd = 2, kCut = 3 };
constexpr uint64_t kShareHasToken = 1;  // flags of a share
constexpr uint64_t kShareFailed = 2;
constexpr uint64_t kShareHasCandidates = 4;
constexpr uint64_t kShareDrafts = 8;  // further tokens, or proposals

// What a TierStore returned: the events of a poll, or a number.
enum class TierAnswer : uint8_t { kEvents = 1, kNumber = 2 };

class EventLog {
 public:
  // Starts a new file; one that is there is replaced. kIo names the file.
  static Result<std::unique_ptr<EventLog>> create(const std::string& path, uint64_t max_bytes);
  ~EventLog();  // writes the end mark
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  // Once, by the engine.
  void begin(const EngineOptions& options);
  // One step(), in this order; end_step(false) drops what was gathered.
  void begin_step(Tick now);
  void add_message(const Message& message);
  void set_plan(uint64_t state_hash);
  // of_beams[i]: share i belongs to a beam search.
  void add_output(const flow::StepOutput& output, std::span<const uint8_t> of_beams, Tick now);
  void add_tier_events(std::span<const flow::TierEvent> events);
  void add_tier_number(uint64_t value);
  void end_step(bool keep);

  bool cut() const { return cut_; }  // max_bytes was reached, or the disk is full

 private:
  EventLog(std::FILE* file, uint64_t max_bytes) : file_(file), max_bytes_(max_bytes) {}
  void write(std::string_view bytes);

  std::FILE* file_;
  uint64_t max_bytes_;
  uint64_t n_bytes_ = 0;
  bool cut_ = false;
  // the step being gathered
  Tick now_ = 0;
  uint64_t n_messages_ = 0;
  uint64_t n_outputs_ = 0;
  bool planned_ = false;
  uint64_t state_hash_ = 0;
  std::string messages_;
  std::string outputs_;
  uint64_t n_answers_ = 0;
  std::string answers_;
  std::string record_;  // scratch
};

}  // namespace millrace::engine
