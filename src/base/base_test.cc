#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/bounded_queue.h"
#include "base/byte_reader.h"
#include "base/durations.h"
#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/macros.h"
#include "base/philox.h"
#include "base/task_pool.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

Result<int> half(int x) {
  if (x % 2 != 0) return Error{ErrorCode::kInvalidValue, "odd", "x"};
  return x / 2;
}
Result<int> quarter(int x) { return half(TRY(half(x))); }

TEST(ResultTest, TryPassesTheErrorOn) {
  EXPECT_EQ(quarter(8).value(), 2);
  auto failed = quarter(6);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::kInvalidValue);
  EXPECT_EQ(failed.error().param, "x");
}

TEST(ResultTest, QuoteEscapesAndCutsAtACharacter) {
  EXPECT_EQ(quote_for_message("a\nb"), "a\\x0ab");
  std::string cut = quote_for_message(std::string(63, 'a') + "\xC3\xA9", 64);
  EXPECT_EQ(cut, std::string(63, 'a') + "...");
}

TEST(ByteReaderTest, NeverReadsPastTheEnd) {
  const uint8_t bytes[] = {1, 0, 0, 0, 9};
  ByteReader reader(bytes);
  EXPECT_EQ(reader.read<uint32_t>(), 1u);
  EXPECT_EQ(reader.read<uint32_t>(), std::nullopt);
  EXPECT_EQ(reader.left(), 1u);
  EXPECT_FALSE(reader.take(UINT64_MAX).has_value());
  EXPECT_EQ(reader.read<uint8_t>(), 9u);
  EXPECT_FALSE(checked_mul(uint64_t{1} << 63, 2).has_value());
}

TEST(PhiloxTest, KnownAnswers) {
  // Random123 known-answer vectors for philox4x32-10
  EXPECT_EQ(philox4x32(0, {0, 0, 0, 0}), (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32(UINT64_MAX, {~0u, ~0u, ~0u, ~0u}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(JsonTest, RoundTripKeepsOrderAndKinds) {
  std::string text = R"({"b":1,"a":[true,null,-2.5,"x\n\u00e9"],"c":{"d":9007199254740993}})";
  auto json = parse_json(text);
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(json->dump(), "{\"b\":1,\"a\":[true,null,-2.5,\"x\\n\xC3\xA9\"],\"c\":{\"d\":9007199254740993}}");
  EXPECT_TRUE(json->find("b")->is_int());
  EXPECT_EQ(json->get("missing"), nullptr);
  EXPECT_EQ(parse_json(json->dump()).value(), *json);
}

TEST(JsonTest, NulIsNoEndOfTheText) {
  using namespace std::string_view_literals;
  for (std::string_view text : {"{}\0"sv, "{}\0{}"sv, "[1\0]"sv, "\"a\0b\""sv, "\0"sv}) {
    EXPECT_FALSE(parse_json(text).ok()) << text;
  }
  EXPECT_EQ(parse_json("{} \0"sv).error().message, "not valid JSON at byte 3: NUL after the value");
}

TEST(JsonTest, LargeObjectsAreIndexed) {
  std::string text = "{";
  for (int i = 0; i < 1000; ++i) text += fmt::format("{}\"k{}\":{}", i ? "," : "", i, i);
  auto json = parse_json(text + "}");
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(json->find("k777")->as_int(), 777);
  EXPECT_EQ(json->find("k1000"), nullptr);
}

TEST(JsonTest, RefusesWhatTheDoorForbids) {
  auto message = [](std::string_view text, JsonLimits limits = {}) {
    auto result = parse_json(text, limits);
    return result.ok() ? std::string("accepted") : result.error().message;
  };
  EXPECT_THAT(message("{\"a\":1,\"a\":2}"), HasSubstr("not valid JSON at byte 10: duplicate key \"a\""));
  EXPECT_THAT(message(R"({"b":{"a":1},"c":{"a":1},"b":2})"), HasSubstr("at byte 28: duplicate key \"b\""));
  EXPECT_THAT(message("[[[1]]]", {.depth = 2}), HasSubstr("not valid JSON at byte 3: nesting deeper than 2"));
  EXPECT_THAT(message("[1,2,\"3\"]", {.nodes = 3}), HasSubstr("not valid JSON at byte 8: more than 3 values"));
  EXPECT_THAT(message("[[],[],[]]", {.bytes = 200}), HasSubstr("too many small values"));
  EXPECT_THAT(message("[[],[],[]]", {.bytes = 256}), HasSubstr("accepted"));
  EXPECT_THAT(message("\"\\ud800\""), HasSubstr("not valid JSON at byte"));
  EXPECT_THAT(message("\"\xff\""), HasSubstr("not valid JSON at byte"));
  EXPECT_THAT(message("[1,]"), HasSubstr("not valid JSON at byte 4"));
  EXPECT_THAT(message(""), HasSubstr("not valid JSON"));
  EXPECT_THAT(message("[1e999]"), HasSubstr("not valid JSON at byte"));
  EXPECT_THAT(message("[1e999]"), HasSubstr("out of range"));
  EXPECT_THAT(message("[NaN]"), HasSubstr("not valid JSON"));
  EXPECT_THAT(message("1 2"), HasSubstr("not valid JSON"));
  EXPECT_THAT(message("\xEF\xBB\xBF{}"), HasSubstr("byte order mark"));
}

TEST(LimitsTest, EveryRowIsItsOwnIdAndHasThreeBorders) {
  Limits limits;
  size_t i = 0;
  for (const Limit& row : limit_table()) {
    EXPECT_EQ(static_cast<size_t>(row.id), i++) << row.name;
    EXPECT_LE(row.default_value, row.hard_max) << row.name;
    EXPECT_TRUE(limits.set(row.id, row.hard_max).ok()) << row.name;
    for (int64_t bad : {row.hard_max + 1, int64_t{-1}, int64_t{0}, INT64_MAX}) {
      EXPECT_FALSE(limits.set(row.id, bad).ok()) << row.name << " " << bad;
    }
    EXPECT_EQ(limits[row.id], row.hard_max);
  }
}

TEST(FileTest, ReadsMapsAndReplaces) {
  std::string path = fmt::format("/tmp/millrace_file_test_{}", ::getpid());
  ASSERT_TRUE(write_file_atomic(path, "hello").ok());
  EXPECT_EQ(read_file(path, 5).value(), "hello");
  EXPECT_THAT(read_file(path, 4).error().message, HasSubstr("5 bytes exceed limit 4"));
  auto mapped = MappedFile::open(path);
  ASSERT_TRUE(mapped.ok());
  EXPECT_EQ(as_text(mapped->bytes()), "hello");
  EXPECT_TRUE(mapped->check_unchanged().ok());
  EXPECT_EQ(MappedFile::open(path + ".none").error().code, ErrorCode::kNotFound);
  EXPECT_THAT(MappedFile::open("/tmp").error().message, HasSubstr("not a regular file"));
  ::unlink(path.c_str());
}

TEST(BoundedQueueTest, RefusesWhenFullAndDrainsWhenClosed) {
  BoundedQueue<int> queue(2);
  EXPECT_TRUE(queue.try_push(1));
  EXPECT_TRUE(queue.try_push(2));
  EXPECT_FALSE(queue.try_push(3));
  queue.close();
  EXPECT_EQ(queue.pop(), 1);
  EXPECT_EQ(queue.pop(), 2);
  EXPECT_EQ(queue.pop(), std::nullopt);
}

TEST(TaskPoolTest, RunsWhatItAccepted) {
  std::atomic<int> ran{0};
  int accepted = 0;
  {
    TaskPool pool(2, 64);
    for (int i = 0; i < 50; ++i) accepted += pool.try_post([&] { ++ran; }) ? 1 : 0;
  }
  EXPECT_EQ(ran.load(), accepted);
}

TEST(Durations, EachIsTakenOnceFromItsBucket) {
  Durations durations;
  for (Tick took : {Tick{1}, Tick{5'000}, Tick{5'001}, 3 * kSecond}) durations.add(took);
  Durations::Taken taken = durations.take();
  EXPECT_EQ(taken.counts[0], 2u);  // up to 5 us
  EXPECT_EQ(taken.counts[1], 1u);
  EXPECT_EQ(taken.counts[Durations::kBuckets - 1], 1u);  // above 2 s
  EXPECT_NEAR(taken.sum_s, 3.000010002, 1e-12);
  EXPECT_EQ(durations.take().counts, (std::array<uint64_t, Durations::kBuckets>{}));
}

}  // namespace
}  // namespace millrace
