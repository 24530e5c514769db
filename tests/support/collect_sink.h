// CollectSink: an EventSink that keeps every event by request and fork, and notes broken promises.
#pragma once

#include <fmt/core.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "flow/token_event.h"

namespace millrace::support {

struct ForkText {
  std::vector<TokenId> tokens;
  std::vector<flow::TokenEvent> events;  // in order; logprobs moved in
  flow::FinishReason finish = flow::FinishReason::kNone;
};

class CollectSink final : public flow::EventSink {
 public:
  void deliver(std::span<flow::TokenEvent> events) override {
    for (flow::TokenEvent& event : events) {
      ForkText& text = texts_[{event.request, event.fork}];
      if (text.finish != flow::FinishReason::kNone) {
        violations_.push_back(fmt::format("request {} fork {}: an event after its end", event.request, event.fork));
      }
      if (event.token != kNoToken) text.tokens.push_back(event.token);
      text.finish = event.finish;
      if (event.finish != flow::FinishReason::kNone) ++n_ended_;
      text.events.push_back(std::move(event));
    }
  }

  const ForkText& text(flow::RequestId id, uint32_t fork = 0) { return texts_[{id, fork}]; }
  bool ended(flow::RequestId id, uint32_t fork = 0) { return text(id, fork).finish != flow::FinishReason::kNone; }
  size_t n_ended() const { return n_ended_; }
  const std::vector<std::string>& violations() const { return violations_; }

 private:
  std::map<std::pair<flow::RequestId, uint32_t>, ForkText> texts_;
  std::vector<std::string> violations_;
  size_t n_ended_ = 0;
};

}  // namespace millrace::support
