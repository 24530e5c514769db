// The members of `millrace`: borders, wrong types, rules across fields.
#include "api/extensions.h"

#include <gtest/gtest.h>

namespace millrace::api {
namespace {

std::string outcome(std::string_view body, ExtensionParams& out) {
  Result<Json> json = parse_json(body);
  EXPECT_TRUE(json.ok()) << body;
  Result<void> read = read_extensions(*json, out);
  return read.ok() ? "" : std::string(error_slug(read.error().code)) + "|" + read.error().param;
}

TEST(Extensions, MembersAreReadAndChecked) {
  ExtensionParams e;
  EXPECT_EQ(outcome(R"({"retention":7,"window_tokens":512,"sink_tokens":4,"session_ttl_s":60})", e), "");
  EXPECT_EQ(e.retention, 7);
  EXPECT_EQ(e.window_tokens, 512u);
  EXPECT_EQ(e.sink_tokens, 4u);
  EXPECT_EQ(e.session_ttl_s, 60);
  EXPECT_EQ(outcome(R"({"retention":null})", e), "");
  EXPECT_EQ(e.retention, 7);
  EXPECT_EQ(outcome(R"({"retention":8})", e), "invalid_value|millrace.retention");
  EXPECT_EQ(outcome(R"({"retention":-1})", e), "invalid_value|millrace.retention");
  EXPECT_EQ(outcome(R"({"retention":1.5})", e), "invalid_value|millrace.retention");
  EXPECT_EQ(outcome(R"({"session_ttl_s":86401})", e), "invalid_value|millrace.session_ttl_s");
  EXPECT_EQ(outcome(R"({"ttft_slo_ms":300,"itl_slo_ms":20,"tenant":"team-a"})", e), "");
  EXPECT_EQ(e.ttft_slo_ms, 300);
  EXPECT_EQ(e.itl_slo_ms, 20);
  EXPECT_EQ(e.tenant, "team-a");
  EXPECT_EQ(outcome(R"({"ttft_slo_ms":86400001})", e), "invalid_value|millrace.ttft_slo_ms");
  EXPECT_EQ(outcome(R"({"itl_slo_ms":-1})", e), "invalid_value|millrace.itl_slo_ms");
  EXPECT_EQ(outcome(R"({"tenant":7})", e), "invalid_value|millrace.tenant");
  EXPECT_EQ(outcome(R"({"tenant":")" + std::string(129, 'x') + R"("})", e), "invalid_value|millrace.tenant");
  EXPECT_EQ(outcome(R"({"window":1})", e), "unknown_field|millrace.window");
}

TEST(Extensions, RulesAcrossFields) {
  CommonParams common;
  EXPECT_TRUE(check_extensions(common).ok());
  common.extensions.session_ttl_s = 5;
  EXPECT_EQ(check_extensions(common).error().param, "millrace.session_ttl_s");
  common.caller.session_id = "s";
  EXPECT_TRUE(check_extensions(common).ok());
  common.extensions.sink_tokens = 4;
  EXPECT_EQ(check_extensions(common).error().param, "millrace.sink_tokens");
}

}  // namespace
}  // namespace millrace::api
