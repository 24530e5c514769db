// StreamWriter: the event stream of one request as text: which chunk follows which (API.md 4.3). It buffers whole
// events; whoever owns it takes them and gives them to a socket.
//  1. Nothing is written before the first delta; the role chunks come with it.
//  2. After finish() or fail() nothing follows.
// Thread: one at a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "api/chunks.h"
#include "api/errors.h"
#include "instance/session.h"

namespace millrace::server {

struct StreamOptions {
  api::ErrorStyle error_style = api::ErrorStyle::kOpenAi;
  bool force_include_usage = false;
  bool timings = true;
};

class StreamWriter {
 public:
  // `session` outlives it.
  StreamWriter(const instance::Session& session, const api::ReplyHead& head, StreamOptions options);

  void write(const std::vector<instance::ChoiceDelta>& deltas);
  // The usage chunk, if asked for, and the end mark.
  void finish();
  // The error event and the end mark.
  void fail(const api::ApiError& error);
  void keep_alive();

  // Events not taken yet.
  size_t n_bytes() const { return events_.size(); }
  uint32_t n_tokens() const { return n_tokens_; }
  std::string take();
  bool ended() const { return ended_; }

 private:
  void begin();
  void begin_choice(uint32_t choice);
  const api::Usage* running_usage(const instance::ChoiceDelta& delta);

  const instance::Session* session_;
  const api::CommonParams* params_;
  StreamOptions options_;
  api::ReplyKind kind_;
  api::ChunkWriter chunks_;
  std::string events_;
  uint32_t n_tokens_ = 0;           // in events_
  std::vector<uint32_t> n_output_;  // by choice: tokens written
  std::vector<bool> begun_;         // by choice
  api::Usage running_;
  bool started_ = false;
  bool ended_ = false;
};

}  // namespace millrace::server
