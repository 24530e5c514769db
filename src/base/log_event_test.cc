#include "base/log_event.h"

#include <gtest/gtest.h>

#include <array>

#include "base/json.h"

namespace millrace {
namespace {

// 2026-11-21T22:44:01.123Z
constexpr int64_t kThen = 1795301041123;

TEST(LogEvent, TextAndJsonHoldTheSame) {
  const std::array<LogField, 3> fields = {{{"status", int64_t{200}}, {"ms", 0.5}, {"id", std::string_view("a\"b")}}};
  EXPECT_EQ(log_text(LogFormat::kText, kThen, LogLevel::kWarning, "it is so", fields),
            "22:44:01.123 warning: it is so status=200 ms=0.5 id=a\"b");
  EXPECT_EQ(log_text(LogFormat::kJson, kThen, LogLevel::kWarning, "it is so", fields),
            R"({"time":"2026-11-21T22:44:01.123Z","level":"warning","message":"it is so","status":200,"ms":0.5,)"
            R"("id":"a\"b"})");
}

TEST(LogEvent, NothingInAMessageEndsTheLineOrTheJson) {
  std::string bytes = "a\nb\x01\xff\xc3\"\\}";
  std::string line = log_text(LogFormat::kJson, kThen, LogLevel::kInfo, bytes, {});
  EXPECT_EQ(line.find('\n'), std::string::npos);
  auto parsed = parse_json(line);
  ASSERT_TRUE(parsed.ok()) << line;
  EXPECT_EQ(parsed->find("message")->as_string(), R"(a?b???"\})");
}

}  // namespace
}  // namespace millrace
