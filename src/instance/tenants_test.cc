// Tenants: names, weights and quotas.
#include "instance/tenants.h"

#include <gtest/gtest.h>

namespace millrace::instance {
namespace {

TEST(Tenants, RulesAreParsedAndBadOnesNamed) {
  Result<TenantRule> rule = parse_tenant_rule("team-a:3:60000");
  ASSERT_TRUE(rule.ok());
  EXPECT_EQ(rule->name, "team-a");
  EXPECT_EQ(rule->weight, 3u);
  EXPECT_EQ(rule->tokens_per_minute, 60000u);
  EXPECT_EQ(parse_tenant_rule("b:1")->tokens_per_minute, 0u);
  for (std::string_view bad : {"", ":1", "a", "a:", "a:0", "a:x", "a:1:", "a:1:0", "a:1001", "a:1:-5", "a:1:2:3"}) {
    Result<TenantRule> refused = parse_tenant_rule(bad);
    ASSERT_FALSE(refused.ok()) << bad;
    EXPECT_EQ(refused.error().code, ErrorCode::kUsage);
    EXPECT_NE(refused.error().message.find("--tenant"), std::string::npos);
  }
}

TEST(Tenants, NamesGetNumbersAndStrangersShareOne) {
  TenantTable table({{.name = "a", .weight = 5}});
  EXPECT_EQ(table.intern("").id, 0u);
  EXPECT_EQ(table.intern("a").weight, 5u);
  uint32_t b = table.intern("b").id;
  EXPECT_NE(b, table.intern("a").id);
  EXPECT_EQ(table.intern("b").id, b);
  EXPECT_EQ(table.intern("b").weight, 1u);
  for (size_t i = 0; i < 2 * TenantTable::kMostNames; ++i) table.intern("name " + std::to_string(i));
  EXPECT_EQ(table.intern("one more").id, 0u);
  EXPECT_EQ(table.intern("b").id, b);
  EXPECT_TRUE(table.admit(0, 1'000'000, 0).ok());
}

TEST(Tenants, AQuotaFillsEvenlyAndMayBeOverdrawnOnce) {
  TenantTable table({{.name = "a", .weight = 1, .tokens_per_minute = 600}});
  uint32_t a = table.intern("a").id;
  Tick now = 100 * kSecond;
  EXPECT_TRUE(table.admit(a, 500, now).ok());
  EXPECT_TRUE(table.admit(a, 500, now).ok());  // 100 were left
  table.charge(a, 200, now);
  Result<void> refused = table.admit(a, 1, now);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kRateLimitExceeded);
  EXPECT_NE(refused.error().message.find("600 tokens per minute; the next request can start in 61 s"),
            std::string::npos)
      << refused.error().message;
  EXPECT_FALSE(table.admit(a, 1, now + 59 * kSecond).ok());
  EXPECT_TRUE(table.admit(a, 1, now + 61 * kSecond).ok());
  EXPECT_TRUE(table.admit(a, 600, now + 1000 * kSecond).ok());  // never more than a minute's worth
  EXPECT_FALSE(table.admit(a, 1, now + 1000 * kSecond).ok());
}

}  // namespace
}  // namespace millrace::instance
