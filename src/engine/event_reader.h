// EventReader: an event log back into steps. The file is untrusted: every length is checked before memory is taken, and
// errors name the byte. Thread: one.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/byte_reader.h"
#include "base/result.h"
#include "engine/event_log.h"
#include "engine/inbox.h"
#include "engine/options_json.h"
#include "flow/step_plan.h"

namespace millrace::engine {

struct RecordedOutput {
  flow::StepOutput output;  // shares hold slot 0 and as many empty prompt logprobs as there were
  Tick now = 0;             // when it was retired
};

struct RecordedAnswer {
  TierAnswer kind = TierAnswer::kNumber;
  uint64_t number = 0;
  std::vector<flow::TierEvent> events;
};

// What one Engine::step() got and decided.
struct RecordedStep {
  Tick now = 0;
  std::vector<Message> messages;
  std::optional<uint64_t> state_hash;  // of the plan it made
  std::vector<RecordedOutput> outputs;
  std::vector<RecordedAnswer> answers;  // of the tier, in the order of the calls
};

class EventReader {
 public:
  // `bytes` outlive the reader. kBadFile when it is no event log or of another version.
  static Result<EventReader> open(std::span<const uint8_t> bytes);

  const RecordedSetup& setup() const { return setup_; }
  // The next step; nothing at the end of the log. A log that stops inside a record (a killed process) ends before it.
  Result<std::optional<RecordedStep>> next();
  // The writer closed the log (true), or it was cut at its limit or lost its end (false); after the last step.
  bool complete() const { return complete_; }

 private:
  explicit EventReader(std::span<const uint8_t> bytes) : reader_(bytes) {}
  Result<uint64_t> number(uint64_t most);
  Result<int64_t> signed_number();
  Result<std::vector<TokenId>> tokens();
  Result<Message> message();
  Result<flow::GenerateRequest> request(flow::RequestId id);
  Result<std::string> text();
  Result<std::shared_ptr<SessionTask>> session();
  Result<std::unique_ptr<flow::PositionLogprobs>> candidates();
  Result<RecordedAnswer> answer();
  Result<RecordedOutput> output();
  Error bad(std::string_view what) const;

  ByteReader reader_;
  RecordedSetup setup_;
  bool complete_ = false;
  bool ended_ = false;
};

}  // namespace millrace::engine
