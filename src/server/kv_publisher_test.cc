// KV events as a subscriber sees them: bytes, numbers, what was missed, and a server's cache followed from outside.
#include "server/kv_publisher.h"

#include <gtest/gtest.h>
#include <zmq.h>

#include <memory>
#include <string>
#include <vector>

#include "server/msgpack.h"
#include "tests/support/msgpack_reader.h"
#include "tests/support/server_fixture.h"
#include "tests/support/temp_dir.h"

namespace millrace::server {
namespace {

using testing::MsgpackReader;
using testing::TempDir;

// A socket of the other side; receive() waits at most two minutes.
class Peer {
 public:
  Peer(int type, const std::string& endpoint) : context_(zmq_ctx_new()), socket_(zmq_socket(context_, type)) {
    int wait_ms = 120'000;
    int linger = 0;
    zmq_setsockopt(socket_, ZMQ_RCVTIMEO, &wait_ms, sizeof(wait_ms));
    zmq_setsockopt(socket_, ZMQ_LINGER, &linger, sizeof(linger));
    if (type == ZMQ_SUB) zmq_setsockopt(socket_, ZMQ_SUBSCRIBE, "kv@", 3);
    EXPECT_EQ(zmq_connect(socket_, endpoint.c_str()), 0);
  }
  ~Peer() {
    zmq_close(socket_);
    zmq_ctx_term(context_);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  std::vector<std::string> receive() {
    std::vector<std::string> frames;
    int more = 1;
    size_t size = sizeof(more);
    while (more != 0) {
      zmq_msg_t message;
      zmq_msg_init(&message);
      int n = zmq_msg_recv(&message, socket_, 0);
      if (n >= 0) frames.emplace_back(static_cast<const char*>(zmq_msg_data(&message)), static_cast<size_t>(n));
      zmq_msg_close(&message);
      if (n < 0) break;
      zmq_getsockopt(socket_, ZMQ_RCVMORE, &more, &size);
    }
    return frames;
  }
  void send(std::vector<std::string> frames) {
    for (size_t i = 0; i < frames.size(); ++i) {
      zmq_send(socket_, frames[i].data(), frames[i].size(), i + 1 < frames.size() ? ZMQ_SNDMORE : 0);
    }
  }

 private:
  void* context_;
  void* socket_;
};

uint64_t number_of(const std::string& frame) {
  uint64_t out = 0;
  for (char byte : frame) out = out << 8 | static_cast<uint8_t>(byte);
  return out;
}

std::string first_number(uint64_t value) {
  std::string out;
  for (int i = 8; i-- > 0;) out.push_back(static_cast<char>(value >> (8 * i)));
  return out;
}

flow::KvEvent stored(std::vector<uint64_t> names, std::optional<uint64_t> parent, std::vector<TokenId> tokens) {
  flow::KvEvent event;
  event.names = std::move(names);
  event.parent = parent;
  event.tokens = std::move(tokens);
  return event;
}

struct Published {
  explicit Published(KvPublisherConfig config_in = {}) : config(std::move(config_in)) {
    config.endpoint = "ipc://" + folder.path() + "/events";
    config.replay_endpoint = "ipc://" + folder.path() + "/replay";
    publisher = KvPublisher::open(config).value();
  }
  void publish(std::vector<flow::KvEvent> events) { publisher->publish(events); }
  // Until the subscriber is known to the publisher, messages are lost: batches are published until one arrives.
  uint64_t join(Peer& subscriber) {
    publisher->begin("kv@here@model");
    std::thread knock([this] {
      while (!joined) {
        publish({stored({1}, std::nullopt, {1, 2})});
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
    });
    auto frames = subscriber.receive();
    joined = true;
    knock.join();
    EXPECT_EQ(frames.size(), 3u);
    return frames.size() == 3 ? number_of(frames[1]) : 0;
  }

  TempDir folder;
  KvPublisherConfig config;
  std::unique_ptr<KvPublisher> publisher;
  std::atomic<bool> joined{false};
};

// The examples of the specification's format table.
TEST(KvPublisher, MsgpackIsWrittenInItsShortestForm) {
  std::string out;
  auto bytes = [&out](auto write) {
    out.clear();
    write();
    std::string hex;
    for (char c : out.substr(0, 9)) hex += fmt::format("{:02x}", static_cast<uint8_t>(c));
    return hex;
  };
  EXPECT_EQ(bytes([&] { pack_nil(out); }), "c0");
  EXPECT_EQ(bytes([&] { pack_uint(out, 127); }), "7f");
  EXPECT_EQ(bytes([&] { pack_uint(out, 128); }), "cc80");
  EXPECT_EQ(bytes([&] { pack_uint(out, 256); }), "cd0100");
  EXPECT_EQ(bytes([&] { pack_uint(out, 65536); }), "ce00010000");
  EXPECT_EQ(bytes([&] { pack_uint(out, uint64_t{1} << 32); }), "cf0000000100000000");
  EXPECT_EQ(bytes([&] { pack_float(out, 1.5); }), "cb3ff8000000000000");
  EXPECT_EQ(bytes([&] { pack_text(out, "a"); }), "a161");
  EXPECT_EQ(bytes([&] { pack_text(out, std::string(32, 'a')); }), "d92061616161616161");
  EXPECT_EQ(bytes([&] { pack_text(out, std::string(256, 'a')); }), "db0000010061616161");
  EXPECT_EQ(bytes([&] { pack_array(out, 15); }), "9f");
  EXPECT_EQ(bytes([&] { pack_array(out, 16); }), "dd00000010");
  EXPECT_EQ(bytes([&] { pack_map(out, 1); }), "81");
  EXPECT_EQ(bytes([&] { pack_map(out, 16); }), "df00000010");
}

TEST(KvPublisher, BatchesHaveTheSchemasThatReadersKnow) {
  flow::KvEvent one = stored({5, 6}, 4, {10, 11, 12, 13});
  one.kv_group = 1;
  one.window_tokens = 512;
  one.cache_salt = "s";
  flow::KvEvent removed;
  removed.kind = flow::KvEventKind::kRemoved;
  removed.names = {uint64_t{1} << 40};
  flow::KvEvent from_disk = removed;
  from_disk.medium = flow::KvMedium::kDisk;
  flow::KvEvent cleared;
  cleared.kind = flow::KvEventKind::kCleared;
  std::vector<flow::KvEvent> events = {one, removed, from_disk, cleared, stored({7}, std::nullopt, {1})};
  std::string maps = encode_kv_events(events, 2.5, true);
  EXPECT_EQ(
      MsgpackReader(maps).value().dump(),
      R"([2.5,[{"type":"BlockStored","block_hashes":[5,6],"parent_block_hash":4,"token_ids":[10,11,12,13],)"
      R"("block_size":2,"lora_id":null,"medium":"GPU","lora_name":null,"group_idx":1,)"
      R"("kv_cache_spec_kind":"sliding_window","extra_keys":[["s"],["s"]],"kv_cache_spec_sliding_window":512},)"
      R"({"type":"BlockRemoved","block_hashes":[1099511627776],"medium":"GPU","group_idx":0},)"
      R"({"type":"BlockRemoved","block_hashes":[1099511627776],"medium":"STORAGE","group_idx":0},)"
      R"({"type":"AllBlocksCleared"},)"
      R"({"type":"BlockStored","block_hashes":[7],"parent_block_hash":null,"token_ids":[1],"block_size":1,)"
      R"("lora_id":null,"medium":"GPU","lora_name":null,"group_idx":0,"kv_cache_spec_kind":"full_attention"}],0])");
  std::string arrays = encode_kv_events(events, 2.5, false);
  EXPECT_EQ(
      MsgpackReader(arrays).value().dump(),
      R"([2.5,[["BlockStored",[5,6],4,[10,11,12,13],2,null,"GPU",null,[["s"],["s"]],1,"sliding_window",512],)"
      R"(["BlockRemoved",[1099511627776],"GPU",0],["BlockRemoved",[1099511627776],"STORAGE",0],["AllBlocksCleared"],)"
      R"(["BlockStored",[7],null,[1],1,null,"GPU",null,null,0,"full_attention",null]],0])");
}

TEST(KvPublisher, ASubscriberGetsNumberedBatchesAndOldOnesAgain) {
  Published server({.buffer_steps = 3});
  Peer subscriber(ZMQ_SUB, server.config.endpoint);
  uint64_t last = server.join(subscriber);
  for (uint64_t i = 0; i < 5; ++i) server.publish({stored({100 + i}, std::nullopt, {1, 2})});
  uint64_t n_ours = 0;
  while (n_ours < 5) {
    auto frames = subscriber.receive();
    ASSERT_EQ(frames.size(), 3u);
    EXPECT_EQ(frames[0], "kv@here@model");
    EXPECT_EQ(number_of(frames[1]), ++last);
    const Json batch = MsgpackReader(frames[2]).value();
    int64_t name = batch.as_array()[1].as_array()[0].get("block_hashes")->as_array()[0].as_int();
    n_ours += name >= 100 ? 1 : 0;
  }
  Peer late(ZMQ_REQ, server.config.replay_endpoint);  // adds the empty frame, and takes it off
  late.send({first_number(last - 1)});
  Peer dealer(ZMQ_DEALER, server.config.replay_endpoint);
  dealer.send({"", first_number(0)});
  for (uint64_t number = last - 2; number <= last; ++number) {
    auto frames = dealer.receive();
    ASSERT_EQ(frames.size(), 4u) << "three are kept";
    EXPECT_EQ(frames[0], "");
    EXPECT_EQ(frames[1], "kv@here@model");
    EXPECT_EQ(number_of(frames[2]), number);
    EXPECT_FALSE(frames[3].empty());
  }
  auto end = dealer.receive();
  ASSERT_EQ(end.size(), 4u);
  EXPECT_EQ(number_of(end[2]), UINT64_MAX);
  EXPECT_EQ(end[3], "");
  dealer.send({"", "short"});
  dealer.send({"no such request"});
  dealer.send({"", first_number(last)});
  EXPECT_EQ(number_of(dealer.receive().at(2)), last) << "bad requests are passed over";
}

TEST(KvPublisher, NobodyWaitsForASlowSubscriberAndGapsAreSeen) {
  Published server({.hwm = 5, .max_queue_size = 4});
  for (uint64_t i = 0; i < 10; ++i) server.publish({stored({i}, std::nullopt, {1})});  // nothing is sent yet
  EXPECT_EQ(server.publisher->counts().n_dropped, 6u);
  Peer slow(ZMQ_SUB, server.config.endpoint);
  uint64_t first = server.join(slow);
  EXPECT_GE(first, 6u) << "the numbers of what was dropped are gone";
  std::vector<TokenId> tokens(1024, 7);
  for (uint64_t i = 0; i < 5000; ++i) server.publish({stored({i}, std::nullopt, tokens)});
  server.publish({});  // the caller came through; the subscriber read nothing of it
}

TEST(KvPublisher, ConfigurationsAreReadAndBadOnesNamed) {
  auto config = parse_kv_events_config(
      R"({"enable_kv_cache_events":true,"publisher":"zmq","endpoint":"tcp://*:6000","replay_endpoint":null,)"
      R"("buffer_steps":7,"hwm":8,"max_queue_size":9,"topic":"t","event_encoding":"array"})");
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_TRUE(config->enabled);
  EXPECT_EQ(config->endpoint, "tcp://*:6000");
  EXPECT_EQ(config->buffer_steps, 7u);
  EXPECT_EQ(config->topic, "t");
  EXPECT_FALSE(config->as_maps);
  EXPECT_FALSE(parse_kv_events_config("{}")->enabled);
  for (std::string_view bad : {"", "[]", R"({"hwm":-1})", R"({"hwm":"1"})", R"({"publisher":"kafka"})", R"({"port":1})",
                               R"({"max_queue_size":0})", R"({"event_encoding":"json"})", R"({"endpoint":5})"}) {
    auto refused = parse_kv_events_config(bad);
    ASSERT_FALSE(refused.ok()) << bad;
    EXPECT_EQ(refused.error().code, ErrorCode::kUsage);
    EXPECT_NE(refused.error().message.find("--kv-events-config"), std::string::npos);
  }
  KvPublisherConfig nowhere;
  nowhere.endpoint = "tcp://nowhere:none";
  EXPECT_EQ(KvPublisher::open(nowhere).error().code, ErrorCode::kResource);
}

// A prompt of three blocks and more is told with its tokens; a reset is told.
TEST(KvPublisher, AServersCacheIsFollowedFromOutside) {
  Published events;
  Peer subscriber(ZMQ_SUB, events.config.endpoint);
  uint64_t last = events.join(subscriber);
  testing::EchoOptions echo;
  echo.on_kv_events = [&events](std::span<flow::KvEvent> batch) { events.publisher->publish(batch); };
  ServerOptions options;
  options.kv_events = events.config;
  options.kv_events.enabled = true;
  {
    testing::TestServer server(options, echo);
    testing::HttpClient client(server.port());
    std::string prompt(100, 'a');
    EXPECT_EQ(client.post("/v1/completions", R"({"prompt":")" + prompt + R"(","max_tokens":2})").status, 200);
    std::vector<int64_t> tokens;
    while (tokens.size() < 96) {
      auto frames = subscriber.receive();
      ASSERT_EQ(frames.size(), 3u);
      EXPECT_EQ(number_of(frames[1]), ++last);
      const Json batch = MsgpackReader(frames[2]).value();
      const Json& event = batch.as_array()[1].as_array()[0];
      ASSERT_NE(event.get("token_ids"), nullptr) << batch.dump();
      if (event.get("token_ids")->size() < 32) continue;  // of join()
      EXPECT_EQ(event.get("block_size")->as_int(), 32);
      EXPECT_EQ(event.find("parent_block_hash")->is_null(), tokens.empty());
      for (const Json& token : event.get("token_ids")->as_array()) tokens.push_back(token.as_int());
    }
    EXPECT_EQ(tokens, std::vector<int64_t>(96, 'a'));
    Json sources = client.get("/kv_event_sources").json();
    ASSERT_NE(sources.get("sources"), nullptr) << sources.dump();
    const Json& source = sources.get("sources")->as_array().at(0);
    EXPECT_EQ(source.get("endpoint")->as_string(), events.config.endpoint);
    EXPECT_EQ(source.get("block_size")->as_int(), 32);
    EXPECT_EQ(client.post("/reset_prefix_cache", "").status, 200);
    auto frames = subscriber.receive();
    ASSERT_EQ(frames.size(), 3u);
    EXPECT_EQ(MsgpackReader(frames[2]).value().as_array()[1].dump(), R"([{"type":"AllBlocksCleared"}])");
  }
}

}  // namespace
}  // namespace millrace::server
