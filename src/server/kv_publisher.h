// KvPublisher: the changes of the prefix cache over ZeroMQ, as vLLM publishes them: a PUB socket with the frames
// [topic][sequence number, 8 bytes big endian][MessagePack], and a ROUTER socket that sends old ones again.
//  1. The engine never waits: publish() takes a short lock; beyond max_queue_size the oldest batch is dropped, which
//     readers see as a gap in the numbers. A slow subscriber loses messages beyond hwm, and delays nobody.
//  2. Numbers begin at 0 and count batches, dropped ones too.
// Source of the protocol: vLLM, vllm/distributed/kv_events.py. Threads: publish() the engine's; a thread of its own
// has the sockets.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "flow/kv_event.h"

namespace millrace::server {

struct KvPublisherConfig {
  bool enabled = false;
  std::string endpoint = "tcp://*:5557";  // bound when it has a * or :: or is ipc, else connected to
  std::string replay_endpoint;            // bound; empty: nothing is sent again
  uint64_t buffer_steps = 10'000;         // batches kept to be sent again
  uint64_t hwm = 100'000;                 // messages kept for a slow subscriber
  uint64_t max_queue_size = 100'000;      // batches that wait for the thread
  std::string topic;                      // empty: kv@HOST:PORT@MODEL
  bool as_maps = true;                    // false: events as positional arrays, as older readers want them
};

// The value of --kv-events-config, a JSON object with vLLM's members. kUsage names the member.
Result<KvPublisherConfig> parse_kv_events_config(std::string_view text);

// MessagePack of one batch: [seconds since 1970, events, rank 0].
std::string encode_kv_events(std::span<const flow::KvEvent> events, double now_s, bool as_maps);

struct KvEventCounts {
  uint64_t n_sent = 0;     // events handed to the socket
  uint64_t n_dropped = 0;  // events that were not, for want of room
};

class KvPublisher {
 public:
  // Opens the sockets. kResource names the endpoint and what is wrong with it.
  static Result<std::unique_ptr<KvPublisher>> open(const KvPublisherConfig& config);
  ~KvPublisher();
  KvPublisher(const KvPublisher&) = delete;
  KvPublisher& operator=(const KvPublisher&) = delete;

  // Begins to send, under this topic unless the configuration has one. What was published before waits for it. Later
  // calls change nothing.
  void begin(const std::string& topic);
  // Takes the content of the events.
  void publish(std::span<flow::KvEvent> events);
  KvEventCounts counts() const;

  struct State;

 private:
  explicit KvPublisher(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace millrace::server
