#include "server/kv_publisher.h"

#include <fmt/core.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <limits>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/macros.h"

namespace millrace::server {
namespace {

constexpr uint64_t kEndOfReplay = UINT64_MAX;
constexpr int64_t kMostMessages = 1'000'000'000;

Error wrong(std::string_view member, std::string_view want) {
  return {ErrorCode::kUsage, fmt::format("--kv-events-config: {}: must be {}", member, want), "--kv-events-config"};
}

Result<void> read_count(const Json& value, std::string_view name, uint64_t& out) {
  if (!value.is_int() || value.as_int() < 0 || value.as_int() > kMostMessages) {
    return wrong(name, fmt::format("an integer in 0..{}", kMostMessages));
  }
  out = static_cast<uint64_t>(value.as_int());
  return {};
}

Result<void> read_text(const Json& value, std::string_view name, std::string& out) {
  if (value.is_null()) return {};
  if (!value.is_string()) return wrong(name, "a string");
  out = value.as_string();
  return {};
}

Result<void> read_member(const std::string& name, const Json& value, KvPublisherConfig& out) {
  if (name == "enable_kv_cache_events") {
    if (!value.is_bool()) return wrong(name, "a boolean");
    out.enabled = value.as_bool();
    return {};
  }
  if (name == "publisher") {
    if (!value.is_string() || value.as_string() != "zmq") return wrong(name, "zmq");
    return {};
  }
  if (name == "event_encoding") {
    bool known = value.is_string() && (value.as_string() == "map" || value.as_string() == "array");
    if (!known) return wrong(name, "map or array");
    out.as_maps = value.as_string() == "map";
    return {};
  }
  if (name == "endpoint") return read_text(value, name, out.endpoint);
  if (name == "replay_endpoint") return read_text(value, name, out.replay_endpoint);
  if (name == "topic") return read_text(value, name, out.topic);
  if (name == "buffer_steps") return read_count(value, name, out.buffer_steps);
  if (name == "hwm") return read_count(value, name, out.hwm);
  if (name == "max_queue_size") return read_count(value, name, out.max_queue_size);
  return wrong(quote_for_message(name), "left out: it is not known");
}

bool is_bound(std::string_view endpoint) {
  return endpoint.find('*') != std::string_view::npos || endpoint.find("::") != std::string_view::npos ||
         endpoint.starts_with("ipc://") || endpoint.starts_with("inproc://");
}

std::array<char, 8> big_endian(uint64_t value) {
  std::array<char, 8> out{};
  for (size_t i = 0; i < 8; ++i) out[i] = static_cast<char>(value >> (8 * (7 - i)));
  return out;
}

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// One socket. Sends never wait.
class Socket {
 public:
  Socket(void* context, int type) : socket_(zmq_socket(context, type)) {
    int linger = 0;
    zmq_setsockopt(socket_, ZMQ_LINGER, &linger, sizeof(linger));
  }
  ~Socket() { zmq_close(socket_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  void set_send_limit(uint64_t messages) {
    int value = static_cast<int>(messages);
    zmq_setsockopt(socket_, ZMQ_SNDHWM, &value, sizeof(value));
  }
  Result<void> open(const std::string& endpoint, bool bind) {
    int code = bind ? zmq_bind(socket_, endpoint.c_str()) : zmq_connect(socket_, endpoint.c_str());
    if (code == 0) return {};
    return Error{ErrorCode::kResource,
                 fmt::format("--kv-events-config: {}: {}", quote_for_message(endpoint), zmq_strerror(zmq_errno())),
                 "--kv-events-config"};
  }
  void send(std::span<const std::string_view> frames) {
    for (size_t i = 0; i < frames.size(); ++i) {
      int more = i + 1 < frames.size() ? ZMQ_SNDMORE : 0;
      if (zmq_send(socket_, frames[i].data(), frames[i].size(), ZMQ_DONTWAIT | more) < 0) return;
    }
  }
  // The frames of a message that has come; none when there is none.
  std::vector<std::string> receive() {
    std::vector<std::string> out;
    int more = 1;
    while (more != 0) {
      zmq_msg_t message;
      zmq_msg_init(&message);
      if (zmq_msg_recv(&message, socket_, ZMQ_DONTWAIT) >= 0) {
        out.emplace_back(static_cast<const char*>(zmq_msg_data(&message)), zmq_msg_size(&message));
        more = zmq_msg_more(&message);
      } else {
        more = 0;
      }
      zmq_msg_close(&message);
    }
    return out;
  }
  void* get() const { return socket_; }

 private:
  void* socket_;
};

struct Batch {
  uint64_t number = 0;
  double when_s = 0;
  std::vector<flow::KvEvent> events;
};

struct Sent {
  uint64_t number = 0;
  std::string payload;
};

}  // namespace

Result<KvPublisherConfig> parse_kv_events_config(std::string_view text) {
  Result<Json> json = parse_json(text);
  if (!json.ok() || !json->is_object()) return wrong("the value", "a JSON object");
  KvPublisherConfig out;
  for (const auto& [name, value] : json->as_object().members) TRY(read_member(name, value, out));
  if (out.max_queue_size == 0) return wrong("max_queue_size", "at least 1");
  return out;
}

struct KvPublisher::State {
  explicit State(const KvPublisherConfig& config_in)
      : config(config_in),
        context(zmq_ctx_new()),
        wake_fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        publisher(std::make_unique<Socket>(context, ZMQ_PUB)) {
    publisher->set_send_limit(config.hwm);
  }
  ~State() {
    {
      std::lock_guard lock(mutex);
      stopping = true;
    }
    wake();
    if (thread.joinable()) thread.join();
    publisher.reset();
    replay.reset();
    zmq_ctx_term(context);
    close(wake_fd);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void wake() const {
    uint64_t one = 1;
    (void)!write(wake_fd, &one, sizeof(one));
  }
  void run();
  void send_waiting();
  void send_again();

  const KvPublisherConfig config;
  std::string topic;
  void* context;
  int wake_fd;
  std::unique_ptr<Socket> publisher;
  std::unique_ptr<Socket> replay;  // or nullptr
  std::deque<Sent> sent;           // at most buffer_steps, for those who missed them
  mutable std::mutex mutex;
  std::deque<Batch> waiting;  // guarded by mutex
  uint64_t next_number = 0;   // guarded by mutex
  KvEventCounts counts;       // guarded by mutex
  bool stopping = false;      // guarded by mutex
  std::thread thread;
};

void KvPublisher::State::run() {
  while (true) {
    zmq_pollitem_t items[2] = {
        {.socket = nullptr, .fd = wake_fd, .events = ZMQ_POLLIN, .revents = 0},
        {.socket = replay ? replay->get() : nullptr, .fd = -1, .events = ZMQ_POLLIN, .revents = 0}};
    zmq_poll(items, replay ? 2 : 1, -1);
    uint64_t count = 0;
    (void)!read(wake_fd, &count, sizeof(count));
    {
      std::lock_guard lock(mutex);
      if (stopping) return;
    }
    send_waiting();
    if (replay) send_again();
  }
}

void KvPublisher::State::send_waiting() {
  while (true) {
    Batch batch;
    {
      std::lock_guard lock(mutex);
      if (waiting.empty()) return;
      batch = std::move(waiting.front());
      waiting.pop_front();
      counts.n_sent += batch.events.size();
    }
    std::string payload = encode_kv_events(batch.events, batch.when_s, config.as_maps);
    std::array<char, 8> number = big_endian(batch.number);
    std::string_view frames[] = {topic, {number.data(), number.size()}, payload};
    publisher->send(frames);
    if (!replay) continue;
    sent.push_back({batch.number, std::move(payload)});
    while (sent.size() > config.buffer_steps) sent.pop_front();
  }
}

// Requests: [client][empty][first number]. Answers: [client][empty][topic][number][payload] each, at last number -1.
void KvPublisher::State::send_again() {
  for (std::vector<std::string> ask = replay->receive(); !ask.empty(); ask = replay->receive()) {
    if (ask.size() != 3 || ask[2].size() != 8) continue;
    uint64_t first = 0;
    for (char byte : ask[2]) first = first << 8 | static_cast<uint8_t>(byte);
    auto from = std::ranges::lower_bound(sent, first, {}, &Sent::number);
    for (; from != sent.end(); ++from) {
      std::array<char, 8> number = big_endian(from->number);
      std::string_view frames[] = {ask[0], "", topic, {number.data(), number.size()}, from->payload};
      replay->send(frames);
    }
    std::array<char, 8> number = big_endian(kEndOfReplay);
    std::string_view frames[] = {ask[0], "", "", {number.data(), number.size()}, ""};
    replay->send(frames);
  }
}

KvPublisher::KvPublisher(std::unique_ptr<State> state) : state_(std::move(state)) {}
KvPublisher::~KvPublisher() = default;

Result<std::unique_ptr<KvPublisher>> KvPublisher::open(const KvPublisherConfig& config) {
  auto state = std::make_unique<State>(config);
  TRY(state->publisher->open(config.endpoint, is_bound(config.endpoint)));
  if (!config.replay_endpoint.empty()) {
    state->replay = std::make_unique<Socket>(state->context, ZMQ_ROUTER);
    state->replay->set_send_limit(config.buffer_steps + 1);
    TRY(state->replay->open(config.replay_endpoint, true));
  }
  return std::unique_ptr<KvPublisher>(new KvPublisher(std::move(state)));
}

void KvPublisher::begin(const std::string& topic) {
  if (state_->thread.joinable()) return;
  state_->topic = state_->config.topic.empty() ? topic : state_->config.topic;
  state_->thread = std::thread([state = state_.get()] { state->run(); });
  state_->wake();
}

void KvPublisher::publish(std::span<flow::KvEvent> events) {
  Batch batch;
  batch.when_s = seconds_since_1970();
  for (flow::KvEvent& event : events) batch.events.push_back(std::move(event));
  {
    std::lock_guard lock(state_->mutex);
    batch.number = state_->next_number++;
    state_->waiting.push_back(std::move(batch));
    if (state_->waiting.size() > state_->config.max_queue_size) {
      state_->counts.n_dropped += state_->waiting.front().events.size();
      state_->waiting.pop_front();
    }
  }
  state_->wake();
}

KvEventCounts KvPublisher::counts() const {
  std::lock_guard lock(state_->mutex);
  return state_->counts;
}

}  // namespace millrace::server
