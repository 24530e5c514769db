// Spans in OTLP's JSON form and the header of W3C Trace Context (its own examples, section 3.2.2).
#include "server/traces.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "server/trace_exporter.h"

namespace millrace::server {
namespace {

TEST(Traces, ReadsTheHeaderOfTheRecommendation) {
  auto parent = parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  ASSERT_TRUE(parent.has_value());
  EXPECT_EQ(parent->trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(parent->span_id, "00f067aa0ba902b7");
  EXPECT_TRUE(parent->sampled);
  EXPECT_FALSE(parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")->sampled);
  EXPECT_TRUE(parse_traceparent("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes").has_value());
}

TEST(Traces, RefusesWhatIsNone) {
  for (const char* bad : {"", "00", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
                          "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
                          "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                          "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                          "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                          "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                          "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
                          "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what"}) {
    EXPECT_FALSE(parse_traceparent(bad).has_value()) << bad;
  }
}

TEST(Traces, WritesTheJsonMapping) {
  Span span{
      .parent = {.trace_id = "5b8efff798038103d269b633813fc60c", .span_id = "eee19b7ec3c1b173"},
      .span_id = "eee19b7ec3c1b174",
      .begin_unix_ns = 1544712660000000000,
      .end_unix_ns = 1544712661000000000,
      .attributes = {{"a", std::string("x")}, {"b", int64_t{7}}, {"c", 0.5}, {"d", std::vector<std::string>{"s"}}},
      .failed = true};
  std::vector<Span> spans = {span};
  EXPECT_EQ(otlp_json(spans, "svc", "1"),
            R"({"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"svc"}}]},)"
            R"("scopeSpans":[{"scope":{"name":"millrace","version":"1"},"spans":[)"
            R"({"traceId":"5b8efff798038103d269b633813fc60c",)"
            R"("spanId":"eee19b7ec3c1b174","name":"llm_request","kind":2,"startTimeUnixNano":"1544712660000000000",)"
            R"("endTimeUnixNano":"1544712661000000000","attributes":[{"key":"a","value":{"stringValue":"x"}},)"
            R"({"key":"b","value":{"intValue":"7"}},{"key":"c","value":{"doubleValue":0.5}},)"
            R"({"key":"d","value":{"arrayValue":{"values":[{"stringValue":"s"}]}}}],"parentSpanId":"eee19b7ec3c1b173",)"
            R"("status":{"code":2}}]}]}]})");
}

TEST(Traces, IdsAreHexAndDiffer) {
  EXPECT_EQ(random_hex(32).size(), 32u);
  EXPECT_EQ(random_hex(16).size(), 16u);
  EXPECT_NE(random_hex(16), random_hex(16));
}

TEST(Traces, WithoutAnEndpointNothingIsKept) {
  TraceExporter none({});
  none.add({});
  EXPECT_FALSE(none.wanted());
  EXPECT_EQ(none.n_dropped(), 0u);
}

TEST(Traces, ACollectorThatIsGoneHoldsNothingUp) {
  TraceExporter exporter({.endpoint = "http://127.0.0.1:1/v1/traces"});
  for (int i = 0; i < 5000; ++i) exporter.add({});
  EXPECT_GT(exporter.n_dropped(), 0u);
}

}  // namespace
}  // namespace millrace::server
