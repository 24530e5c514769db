// StreamWriter: the event stream of one request as text. It feeds the request's ReplyFormat and buffers whole events;
// whoever owns it takes them and gives them to a socket.
//  1. Nothing is written before the first delta.
//  2. After finish() or fail() nothing follows.
//  3. With an interval of more than one token a choice's deltas are joined until it is reached.
// Thread: one at a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "api/errors.h"
#include "api/reply_format.h"
#include "instance/session.h"

namespace millrace::server {

class StreamWriter {
 public:
  // All three outlive it. An event has at least so many tokens of its choice, but for the first, the last, and those
  // between kinds of content.
  StreamWriter(const instance::Session& session, const api::ReplyHead& head, api::ReplyFormat& format,
               uint32_t interval = 1);

  void write(const std::vector<instance::ChoiceDelta>& deltas);
  void finish();
  void fail(const api::ApiError& error);
  void keep_alive();

  // Events not taken yet.
  size_t n_bytes() const { return events_.size(); }
  uint32_t n_tokens() const { return n_tokens_; }
  std::string take();
  bool ended() const { return ended_; }

 private:
  void begin();
  void count(const instance::ChoiceDelta& delta);
  void write_one(const instance::ChoiceDelta& delta);
  bool hold(const instance::ChoiceDelta& delta);

  const instance::Session* session_;
  api::ReplyFormat* format_;
  api::StreamView view_;
  std::string events_;
  uint32_t n_tokens_ = 0;           // in events_
  std::vector<uint32_t> n_output_;  // by choice: tokens written
  uint32_t interval_;
  std::vector<instance::ChoiceDelta> held_;  // by choice, with an interval: not written yet; no tokens: nothing
  bool started_ = false;
  bool ended_ = false;
};

}  // namespace millrace::server
