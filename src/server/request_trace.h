// RequestTrace: what one generation adds to the traces: listens to the session beside the metrics, and makes the span
// when it has ended. Thread: the session's.
#pragma once

#include <ctime>
#include <optional>
#include <string>

#include "instance/session.h"
#include "server/context.h"
#include "server/http_message.h"

namespace millrace::server {

class RequestTrace final : public instance::SessionObserver {
 public:
  RequestTrace(ServerContext& context, Metrics& metrics, const HttpRequest& request, std::string_view operation);

  // instance::SessionObserver: passed on to the metrics.
  void on_first_token(Tick since_arrival) override;
  void on_token_gap(Tick gap) override;
  void on_late_token() override;
  void on_choice(const instance::ChoiceStats& stats) override;
  void on_admitted(uint32_t n) override;
  void on_text_queue_full() override;
  void on_ttft_ratio(double predicted_over_actual) override;

  // Once, when the answer has ended or its client has gone.
  void finish(const instance::Session& session, const std::string& request_id);

 private:
  ServerContext* context_;
  Metrics* metrics_;  // of the model
  TraceParent parent_;
  std::string_view operation_;
  int64_t begin_unix_ns_;
  bool wanted_;
  std::optional<Tick> first_token_;              // since arrival
  std::optional<instance::ChoiceStats> choice_;  // the first to end
};

}  // namespace millrace::server
