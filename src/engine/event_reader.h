// EventReader: an event log back into steps. The file is untrusted: every length is checked before memory is taken, and
// errors name the byte. Thread: one.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/byte_reader.h"
#include "base/result.h"
#include "engine/engine.h"
#include "engine/inbox.h"
#include "flow/step_plan.h"

namespace millrace::engine {

struct RecordedOutput {
  flow::StepOutput output;  // shares hold slot 0 and as many empty prompt logprobs as there were
  Tick now = 0;             // when it was retired
};

// What one Engine::step() got and decided.
struct RecordedStep {
  Tick now = 0;
  std::vector<Message> messages;
  std::optional<uint64_t> state_hash;  // of the plan it made
  std::vector<RecordedOutput> outputs;
};

class EventReader {
 public:
  // `bytes` outlive the reader. kBadFile when it is no event log or of another version.
  static Result<EventReader> open(std::span<const uint8_t> bytes);

  const EngineOptions& options() const { return options_; }
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
  Result<RecordedOutput> output();
  Error bad(std::string_view what) const;

  ByteReader reader_;
  EngineOptions options_;
  bool complete_ = false;
  bool ended_ = false;
};

}  // namespace millrace::engine
