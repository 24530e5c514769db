// Several models under one budget, with echo instances: who loads, who goes, who waits; random events at the end.
#include "instance/model_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "instance/session.h"
#include "tests/support/echo_models.h"

namespace millrace::instance {
namespace {

using testing::EchoModels;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

bool eventually(const std::function<bool()>& condition) {
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

Job completion(std::string prompt) {
  api::CompletionRequest request;
  request.prompts.emplace_back(std::move(prompt));
  request.common.max_tokens = 1000;
  Job job;
  job.body = std::move(request);
  return job;
}

ModelUse take(ModelSet& set, std::string_view name) {
  auto use = set.use(name);
  EXPECT_TRUE(use.ok()) << use.error().message;
  return use.ok() ? std::move(use).value() : ModelUse();
}

// A use of a model that is there.
ModelUse ready(ModelSet& set, std::string_view name) {
  ModelUse use = take(set, name);
  EXPECT_TRUE(eventually([&] { return use.instance() != nullptr || use.failure(); }));
  EXPECT_FALSE(use.failure()) << use.failure()->message;
  return use;
}

std::vector<std::string> loaded_names(ModelSet& set) {
  std::vector<std::string> out;
  for (const ModelStatus& one : set.statuses()) {
    if (one.state == ModelState::kLoaded) out.push_back(one.listing.name);
  }
  return out;
}

ModelSetOptions budget(uint64_t bytes, size_t most_loaded = 2) {
  return {.budget_bytes = bytes, .most_loaded = most_loaded, .room_wait = 20 * kMillisecond};
}

TEST(ModelSet, OneLoadForAllWhoAsk) {
  EchoModels world;
  world.hold_loads = true;
  ModelSet set(world.source(), budget(20'000));
  ModelUse first = take(set, "a");
  ModelUse second = take(set, "a:latest");
  EXPECT_EQ(first.instance(), nullptr);
  world.hold_loads = false;
  ASSERT_TRUE(eventually([&] { return first.instance() != nullptr; }));
  EXPECT_EQ(first.instance(), second.instance());
  EXPECT_EQ(world.n_loads.load(), 1);
  EXPECT_EQ(set.used_bytes(), 10'000u);
  auto answer = generate_blocking(*first.instance(), completion("hello"), {});
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->choices[0].text, "hello");
}

TEST(ModelSet, TheLongestUnusedGoes) {
  EchoModels world;
  ModelSet set(world.source(), budget(20'000));
  { ModelUse a = ready(set, "a"); }
  { ModelUse b = ready(set, "b"); }
  { ModelUse a = ready(set, "a"); }
  EXPECT_THAT(loaded_names(set), ElementsAre("a", "b"));
  { ModelUse c = ready(set, "c"); }
  EXPECT_THAT(loaded_names(set), ElementsAre("a", "c"));
  EXPECT_EQ(world.alive_bytes.load(), 20'000u);
}

TEST(ModelSet, AModelInUseStaysAndTheLoadWaits) {
  EchoModels world;
  ModelSetOptions options = budget(10'000, 1);
  options.room_wait = 600 * kSecond;
  ModelSet set(world.source(), options);
  ModelUse a = ready(set, "a");
  ModelUse b = take(set, "b");
  auto answer = generate_blocking(*a.instance(), completion("still here"), {});
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->choices[0].text, "still here");
  EXPECT_EQ(b.instance(), nullptr);
  a = ModelUse();
  ASSERT_TRUE(eventually([&] { return b.instance() != nullptr; }));
  EXPECT_THAT(loaded_names(set), ElementsAre("b"));
}

TEST(ModelSet, WhoLeavesTheQueueCostsNobodyItsPlace) {
  EchoModels world;
  ModelSetOptions options = budget(10'000, 1);
  options.room_wait = 600 * kSecond;
  ModelSet set(world.source(), options);
  ModelUse a = ready(set, "a");
  { ModelUse b = take(set, "b"); }
  a = ModelUse();
  ASSERT_TRUE(eventually([&] { return set.statuses()[1].state == ModelState::kUnloaded; }));
  EXPECT_THAT(loaded_names(set), ElementsAre("a"));
  EXPECT_EQ(world.n_loads.load(), 1);
}

TEST(ModelSet, NoRoomNamesTheSizes) {
  EchoModels world;
  ModelSet set(world.source(), budget(20'000));
  ModelUse big = take(set, "big");
  ASSERT_TRUE(eventually([&] { return big.failure().has_value(); }));
  EXPECT_EQ(big.failure()->code, ErrorCode::kMemoryPressure);
  ModelUse a = ready(set, "a");
  ModelUse b = ready(set, "b");
  ModelUse c = take(set, "c");
  ASSERT_TRUE(eventually([&] { return c.failure().has_value(); }));
  EXPECT_EQ(c.failure()->code, ErrorCode::kMemoryPressure);
  EXPECT_THAT(c.failure()->message, HasSubstr("2 of 2 models are loaded"));
  EXPECT_THAT(c.failure()->message, HasSubstr("in use"));
  EXPECT_EQ(set.statuses()[3].state, ModelState::kFailed);
}

// "wide" would fit beside nobody but "b": unloading "b" alone helps nobody while "a" is in use.
TEST(ModelSet, NobodyGoesForALoadThatStillWouldNotFit) {
  EchoModels world;
  ModelSet set(world.source(), budget(20'000));
  ModelUse a = ready(set, "a");
  { ModelUse b = ready(set, "b"); }
  ModelUse wide = take(set, "wide");
  ASSERT_TRUE(eventually([&] { return wide.failure().has_value(); }));
  EXPECT_EQ(wide.failure()->code, ErrorCode::kMemoryPressure);
  EXPECT_THAT(loaded_names(set), ElementsAre("a", "b"));
  a = ModelUse();
  wide = ready(set, "wide");
  EXPECT_THAT(loaded_names(set), ElementsAre("wide"));
}

TEST(ModelSet, WhoLeavesEndsTheDownloadThatTellsTheSize) {
  EchoModels world;
  world.hold_needs = true;
  ModelSet set(world.source(), budget(20'000));
  {
    ModelUse a = take(set, "a");
    EXPECT_TRUE(eventually([&] { return set.statuses()[0].progress > 0; }));
  }
  EXPECT_TRUE(eventually([&] { return set.statuses()[0].state == ModelState::kUnloaded; }));
  EXPECT_EQ(world.n_loads.load(), 0);
}

TEST(ModelSet, AHungModelStaysWhereHealthSeesIt) {
  EchoModels world;
  ModelSetOptions options = budget(20'000);
  options.hung_after = 1;  // any work that is pending
  ModelSet set(world.source(), options);
  std::thread stuck;
  {
    ModelUse a = ready(set, "a");
    std::shared_ptr<testing::EchoSwitches> switches = world.switches["a"];
    switches->hold();
    stuck = std::thread([instance = a.instance()] { (void)generate_blocking(*instance, completion("x"), {}); });
    ASSERT_TRUE(eventually([&] { return a.instance()->engine().stats().has_work; }));
  }
  ASSERT_TRUE(set.unload("a").ok());
  { ModelUse b = ready(set, "b"); }
  ModelUse c = take(set, "c");
  ASSERT_TRUE(eventually([&] { return c.instance() != nullptr; }));
  EXPECT_THAT(loaded_names(set), ElementsAre("a", "c"));
  world.switches["a"]->release();
  stuck.join();
  c = ModelUse();
  EXPECT_TRUE(eventually([&] { return set.retiring_age() == 0; }));
}

TEST(ModelSet, AModelIsDescribedWithoutBeingLoaded) {
  EchoModels world;
  ModelSet set(world.source(), budget(20'000));
  auto head_of = [&](const char* name) {
    std::optional<Result<ModelHead>> head;
    EXPECT_TRUE(eventually([&] { return (head = set.head(name)).has_value(); }));
    return *head;
  };
  EXPECT_EQ(head_of("a:latest")->architecture, "echo-head");
  EXPECT_EQ(head_of("a")->n_params, 1234);
  EXPECT_EQ(world.n_heads.load(), 1);
  EXPECT_EQ(head_of("f").error().code, ErrorCode::kBadFile);
  EXPECT_EQ(head_of("nobody").error().code, ErrorCode::kModelNotFound);
  EXPECT_TRUE(loaded_names(set).empty());
}

TEST(ModelSet, UnloadWaitsForItsUses) {
  EchoModels world;
  ModelSet set(world.source(), budget(20'000));
  ModelUse a = ready(set, "a");
  ASSERT_TRUE(set.unload("a").ok());
  auto answer = generate_blocking(*a.instance(), completion("to the end"), {});
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->choices[0].text, "to the end");
  EXPECT_THAT(loaded_names(set), ElementsAre("a"));
  a = ModelUse();
  ASSERT_TRUE(eventually([&] { return loaded_names(set).empty(); }));
  ASSERT_TRUE(eventually([&] { return world.alive_bytes.load() == 0; }));
  EXPECT_EQ(set.unload("a").error().code, ErrorCode::kInvalidValue);
}

TEST(ModelSet, LoadAndUnloadByName) {
  EchoModels world;
  ModelSet set(world.source(), budget(20'000));
  ASSERT_TRUE(set.load("a").ok());
  ASSERT_TRUE(eventually([&] { return loaded_names(set) == std::vector<std::string>{"a"}; }));
  EXPECT_EQ(set.load("a").error().code, ErrorCode::kInvalidValue);
  EXPECT_EQ(set.load("nobody").error().code, ErrorCode::kModelNotFound);
  EXPECT_EQ(set.use("nobody").error().code, ErrorCode::kModelNotFound);
  EXPECT_TRUE(set.look("a").ok());
  EXPECT_EQ(set.look("b").error().code, ErrorCode::kInvalidValue);
  EXPECT_EQ(set.loaded().size(), 1u);
}

TEST(ModelSet, WhoNamesNoneGetsTheOneUsedLast) {
  EchoModels world;
  ModelSet set(world.source(), budget(20'000));
  EXPECT_EQ(set.use("").error().code, ErrorCode::kMissingField);
  { ModelUse b = ready(set, "b"); }
  { ModelUse a = ready(set, "a"); }
  EXPECT_EQ(ready(set, "").instance()->facts().served_names.front(), "a");
  EXPECT_EQ(set.look("")->instance()->facts().served_names.front(), "a");
}

TEST(ModelSet, KeepAliveEndsAnIdleModel) {
  EchoModels world;
  ModelSet set(world.source(), budget(20'000));
  {
    ModelUse a = ready(set, "a");
    a.set_keep_alive(0);
    auto answer = generate_blocking(*a.instance(), completion("x"), {});
    EXPECT_TRUE(answer.ok());
  }
  // The bytes come back when the instance is gone, a moment after its name.
  EXPECT_TRUE(eventually([&] { return loaded_names(set).empty() && set.used_bytes() == 0; }));
}

TEST(ModelSet, AFailedLoadIsToldAndTriedAgain) {
  EchoModels world;
  world.fail_loads = true;
  ModelSet set(world.source(), budget(20'000));
  ModelUse a = take(set, "a");
  ASSERT_TRUE(eventually([&] { return a.failure().has_value(); }));
  EXPECT_EQ(a.failure()->message, "the file is damaged");
  world.fail_loads = false;
  ModelUse again = ready(set, "a");
  EXPECT_NE(again.instance(), nullptr);
  EXPECT_EQ(a.instance(), nullptr);
}

TEST(ModelSet, TooManyWaitersAreRefused) {
  EchoModels world;
  world.hold_loads = true;
  ModelSetOptions options = budget(20'000);
  options.most_waiting = 2;
  ModelSet set(world.source(), options);
  ModelUse a = take(set, "a");
  ModelUse b = take(set, "b");
  EXPECT_EQ(set.use("a").error().code, ErrorCode::kQueueFull);
  world.hold_loads = false;
  ASSERT_TRUE(eventually([&] { return a.instance() != nullptr && b.instance() != nullptr; }));
  EXPECT_TRUE(set.use("a").ok());
}

// A use that was ready once must stay so, whatever else happens.
struct Held {
  ModelUse use;
  Instance* seen = nullptr;
};

void check_held(std::vector<Held>& held) {
  for (Held& one : held) {
    Instance* now = one.use.instance();
    if (one.seen != nullptr) {
      ASSERT_EQ(now, one.seen);
      ASSERT_EQ(now->state(), InstanceState::kReady);
    }
    one.seen = now;
  }
}

void play(uint32_t seed) {
  EchoModels world;
  constexpr uint64_t kBudget = 32'000;
  std::minstd_rand random(seed);
  auto pick = [&](uint32_t n) { return static_cast<uint32_t>(random() >> 8) % n; };
  auto name = [&] { return std::string(1, static_cast<char>('a' + pick(6))); };
  ModelSet set(world.source(), budget(kBudget, 3));
  std::vector<Held> held;
  for (int event = 0; event < 120; ++event) {
    switch (pick(8)) {
      case 0:
        (void)set.unload(name());
        break;
      case 1:
        (void)set.load(name());
        break;
      case 2:
      case 3:
        if (!held.empty()) held.erase(held.begin() + pick(static_cast<uint32_t>(held.size())));
        break;
      case 4:
        world.fail_loads = pick(8) == 0;
        break;
      case 5:
        std::this_thread::sleep_for(std::chrono::microseconds(pick(3000)));
        break;
      default: {
        auto use = set.use(name());
        if (use.ok() && pick(6) == 0) use->set_keep_alive(pick(2) == 0 ? 0 : kMillisecond);
        if (use.ok() && held.size() < 6) held.push_back({.use = std::move(use).value()});
      }
    }
    ASSERT_LE(set.used_bytes(), kBudget);
    ASSERT_LE(world.alive_bytes.load(), kBudget);
    check_held(held);
    if (::testing::Test::HasFatalFailure()) return;
  }
  // Everybody hears of an end: a model or an error.
  ASSERT_TRUE(eventually([&] {
    return std::all_of(held.begin(), held.end(),
                       [](const Held& one) { return one.use.instance() != nullptr || one.use.failure(); });
  }));
  held.clear();
  ASSERT_LE(set.used_bytes(), kBudget);
}

TEST(ModelSet, RandomEventsKeepTheBudgetAndEveryUse) {
  for (uint32_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(seed);
    play(seed);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace millrace::instance
