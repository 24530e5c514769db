// R18: the allocations of loading a model, preparing a prompt, compiling a constraint, taking a request, writing and
// reading KV blocks, and answering over HTTP, each failing in turn. The caller gets an error, nothing ends the process,
// and the next time everything works. Thread: one, and those of the code under test.
#include <gtest/gtest.h>

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <optional>

#include "api/chat.h"
#include "base/macros.h"
#include "grammar/compiler.h"
#include "instance/session.h"
#include "runtime/disk_store.h"
#include "tests/support/alloc_faults.h"
#include "tests/support/server_fixture.h"
#include "tests/support/temp_dir.h"

namespace millrace {
namespace {

using support::AllocFaults;

// MILLRACE_ALL_FAULTS: every allocation, not a sample.
std::vector<uint64_t> samples(uint64_t n, uint64_t most) {
  if (std::getenv("MILLRACE_ALL_FAULTS") != nullptr) most = n;
  std::vector<uint64_t> out;
  for (uint64_t i = 0; i < std::min(n, most); ++i) out.push_back(1 + (n <= most ? i : i * (n - 1) / (most - 1)));
  return out;
}

// `act` says whether it failed for lack of memory; `again` has to work after each failure.
struct Path {
  AllocFaults::Of of = AllocFaults::Of::kThisThread;
  uint64_t most = 400;
  std::function<bool()> act;
  std::function<void()> again;
};

void fail_each(const Path& path) {
  set_log_level(LogLevel::kError);
  path.act();  // what is made once
  path.again();
  uint64_t n = 0;
  {
    AllocFaults counting(path.of, 0);
    path.act();
    n = counting.n_allocations();
  }
  ASSERT_GT(n, 0u);
  uint64_t n_failed = 0;
  for (uint64_t k : samples(n, path.most)) {
    SCOPED_TRACE(fmt::format("allocation {} of {}", k, n));
    {
      AllocFaults faults(path.of, k);
      EXPECT_NO_THROW(n_failed += path.act() ? 1u : 0u);
    }
    path.again();
    if (::testing::Test::HasFailure()) return;
  }
  EXPECT_GT(n_failed, 0u);
}

bool no_memory(const Error& error) {
  EXPECT_TRUE(error.code == ErrorCode::kMemoryPressure || error.code == ErrorCode::kResource) << error.message;
  EXPECT_NE(error.message.find("out of memory"), std::string::npos) << error.message;
  return true;
}

TEST(AllocFaults, LoadingAModelIsRefused) {
  instance::InstanceOptions options;
  options.model = std::string(MILLRACE_SOURCE_DIR) + "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  options.max_model_len = 64;
  options.max_num_seqs = 2;
  options.warm_up = false;
  options.pin_threads = false;
  auto load = [&] { return instance::Instance::load(options, {}); };
  fail_each({.most = 12,
             .act =
                 [&] {
                   auto loaded = load();
                   return !loaded.ok() && no_memory(loaded.error());
                 },
             .again = [] {}});
  EXPECT_TRUE(load().ok());
}

instance::Job chat_job(const instance::Instance& instance) {
  auto body = parse_json(R"({"messages": [{"role": "user", "content": "one two three four"}], "max_tokens": 4})");
  auto chat = api::parse_chat(*body, instance.parse_context());
  CHECK(chat.ok(), "{}", chat.error().message);
  return {.body = std::move(chat).value(), .arrival = instance.clock().now()};
}

TEST(AllocFaults, AChatTemplateFailsItsRequestAlone) {
  testing::EchoInstance echo = testing::make_echo();
  const instance::Job job = chat_job(*echo.instance);
  auto prepare = [&] { return echo.instance->text().prepare(job, 1); };
  const std::vector<TokenId> want = prepare().prompts.at(0).tokens;
  fail_each({.act =
                 [&] {
                   instance::Prepared prepared = prepare();
                   return prepared.error && no_memory(prepared.error->error);
                 },
             .again =
                 [&] {
                   instance::Prepared prepared = prepare();
                   ASSERT_FALSE(prepared.error);
                   EXPECT_EQ(prepared.prompts.at(0).tokens, want);
                 }});
}

TEST(AllocFaults, AConstraintIsRefusedAndCompilesTheNextTime) {
  Limits limits;
  grammar::Vocabulary vocabulary{
      .tokens = {"{", "}", "\"", ":", "a", "b", "1", "2", ",", " ", "true"}, .specials = {}, .end_tokens = {11}};
  vocabulary.tokens.emplace_back();
  flow::ConstraintSpec spec{
      .kind = flow::ConstraintKind::kJsonSchema,
      .text = R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"enum":["a","b"]}},"required":["a"]})",
      .param = "response_format"};
  std::unique_ptr<grammar::Compiler> compiler;
  fail_each({.most = 300,
             .act =
                 [&] {
                   if (!compiler) compiler = std::make_unique<grammar::Compiler>(vocabulary, limits, 1);
                   auto compiled = compiler->compile(spec);
                   return !compiled.ok() && no_memory(compiled.error());
                 },
             .again =
                 [&] {
                   auto compiled = compiler->compile(spec);  // also of the compiler that failed
                   EXPECT_TRUE(compiled.ok()) << compiled.error().message;
                   compiler = std::make_unique<grammar::Compiler>(vocabulary, limits, 1);
                 }});
}

TEST(AllocFaults, ARequestIsNotTakenAndTheQueueStaysRight) {
  testing::EchoInstance echo = testing::make_echo({.max_queued_requests = 2});
  const instance::Job job = chat_job(*echo.instance);
  instance::Job next = job;
  auto generate = [&] { return instance::generate_blocking(*echo.instance, job, {}); };
  fail_each({.act =
                 [&] {
                   auto answer = instance::generate_blocking(*echo.instance, std::move(next), {});
                   return !answer.ok() && no_memory(answer.error());
                 },
             .again =
                 [&] {
                   next = job;
                   for (int i = 0; i < 3; ++i) {  // more than the queue holds: no place was lost
                     auto answer = generate();
                     ASSERT_TRUE(answer.ok()) << answer.error().message;
                     EXPECT_FALSE(answer->choices.at(0).parts.empty());
                   }
                 }});
}

TEST(AllocFaults, BlocksOnDiskAreWrittenAndReadOrMissed) {
  testing::TempDir dir;
  constexpr uint64_t kBytes = 500;
  runtime::DiskOptions options{.folder = dir.path(), .max_bytes = 3000};
  options.layout = {.layout = {7}, .block_tokens = 4, .block_bytes = kBytes};
  std::vector<std::vector<uint8_t>> pool(2, std::vector<uint8_t>(kBytes));
  auto entry = [](uint8_t i) {
    return flow::TierBlock{.name = {i, 9}, .parent = {8}, .tokens = {i, 1, 2, 3}, .kv_groups = 1};
  };
  AllocFaults::spare_this_thread();
  auto opened = runtime::DiskStore::open(options, [&](flow::BlockId id) { return std::span(pool.at(id)); });
  ASSERT_TRUE(opened.ok());
  std::unique_ptr<runtime::DiskStore> store = std::move(opened).value();
  auto save = [&](uint8_t i) {
    std::ranges::fill(pool[0], i);
    std::optional<AllocFaults::Pause> own(std::in_place);
    const flow::TierBlock block = entry(i);
    const std::vector<flow::BlockId> ids = {0};
    own.reset();
    bool taken = store->save(block, ids);
    store->drain();
    return taken;
  };
  auto hit = [&](uint8_t i) {
    std::optional<AllocFaults::Pause> own(std::in_place);
    std::vector<flow::TierBlock> blocks = {entry(i)};
    own.reset();
    uint64_t load = store->load(std::move(blocks));
    if (load == 0) return false;
    store->drain();
    std::vector<flow::TierEvent> events;
    own.emplace();
    store->poll(events);
    bool loaded = false, ended = false;
    for (const flow::TierEvent& event : events) {
      if (event.kind != flow::TierEventKind::kLoaded || event.load != load) continue;
      ended = true;
      loaded = event.n_blocks == 1;
    }
    EXPECT_TRUE(ended) << "the load is never over";
    if (loaded) {
      store->place(load, 0, 0, 1);
      EXPECT_TRUE(std::ranges::all_of(pool[1], [&](uint8_t byte) { return byte == i; })) << "entry " << int{i};
    }
    store->end_load(load);
    return loaded;
  };
  uint8_t next = 0;
  for (auto of : {AllocFaults::Of::kThisThread, AllocFaults::Of::kAllThreads}) {
    fail_each({.of = of,
               .act =
                   [&] {
                     bool all = true;
                     for (uint8_t i = 0; i < 4; ++i) all = save(static_cast<uint8_t>(next + i)) && all;
                     for (uint8_t i = 0; i < 4; ++i) all = hit(static_cast<uint8_t>(next + i)) && all;
                     next = static_cast<uint8_t>((next + 4) % 200);
                     return !all;
                   },
               .again = [&] {  // a failed write pauses the writing: a new store has no memory of it
                 store.reset();
                 auto again =
                     runtime::DiskStore::open(options, [&](flow::BlockId id) { return std::span(pool.at(id)); });
                 ASSERT_TRUE(again.ok()) << again.error().message;
                 store = std::move(again).value();
                 EXPECT_TRUE(save(250));
                 EXPECT_TRUE(hit(250));
               }});
  }
}

// Every thread of a server but the engine's.
TEST(AllocFaults, AServerAnswersOrRefusesAndGoesOn) {
  AllocFaults::spare_this_thread();
  testing::EchoOptions echo;
  echo.on_engine_thread = [] { AllocFaults::spare_this_thread(); };
  testing::TestServer server({}, echo);
  const std::string body = R"({"messages": [{"role": "user", "content": "one two three four"}], "max_tokens": 18,
    "response_format": {"type": "regex", "pattern": "[a-z ]*"}, "temperature": 0})";
  const std::string plain = R"({"messages": [{"role": "user", "content": "one two three four"}], "max_tokens": 18})";
  auto ask = [&](const std::string& text) {
    testing::HttpClient client(server.port());
    client.send(
        fmt::format("POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Type: "
                    "application/json\r\nContent-Length: {}\r\n\r\n{}",
                    text.size(), text));
    while (client.receive()) {
    }
    return client.buffer();
  };
  const std::string good = ask(plain);
  ASSERT_TRUE(good.starts_with("HTTP/1.1 200")) << good;
  uint64_t n_silent = 0;
  fail_each({.of = AllocFaults::Of::kAllThreads,
             .act =
                 [&] {
                   std::string reply = ask(plain);
                   bool answered = reply.starts_with("HTTP/1.1 200"), refused = reply.starts_with("HTTP/1.1 503");
                   n_silent += reply.empty() ? 1u : 0u;
                   EXPECT_TRUE(answered || refused || reply.empty()) << reply;
                   return !answered;
                 },
             .again = [&] { EXPECT_TRUE(ask(plain).starts_with("HTTP/1.1 200")); }});
  RecordProperty("connections closed without an answer", static_cast<int>(n_silent));
  EXPECT_TRUE(ask(body).size() > 0);
}

}  // namespace
}  // namespace millrace
