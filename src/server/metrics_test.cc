// Every metric against what a client can count for itself, and the exposition against its table.
#include "server/metrics.h"

#include <gtest/gtest.h>

#include <charconv>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/support/server_fixture.h"

namespace millrace::server {
namespace {

using testing::eventually;
using testing::HttpClient;
using testing::TestServer;

// name{labels} to value; labels as in the text.
std::map<std::string, double> parse_exposition(const std::string& text) {
  std::map<std::string, double> out;
  size_t at = 0;
  while (at < text.size()) {
    size_t end = text.find('\n', at);
    std::string line = text.substr(at, end - at);
    at = end == std::string::npos ? text.size() : end + 1;
    if (line.empty() || line[0] == '#') continue;
    size_t space = line.rfind(' ');
    double value = 0;
    std::from_chars(line.data() + space + 1, line.data() + line.size(), value);
    out[line.substr(0, space)] = value;
  }
  return out;
}

class Scrape {
 public:
  explicit Scrape(uint16_t port) {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));  // beyond the age of a snapshot
    text_ = HttpClient(port).get("/metrics").body;
    values_ = parse_exposition(text_);
  }
  // The series of this name whose labels hold `label` (may be empty); -1 when there is none.
  double operator()(const std::string& name, const std::string& label = "") const {
    for (const auto& [key, value] : values_) {
      if (key.starts_with(name + "{") && key.find(label) != std::string::npos) return value;
    }
    return -1;
  }
  const std::string& text() const { return text_; }
  const std::map<std::string, double>& values() const { return values_; }

 private:
  std::string text_;
  std::map<std::string, double> values_;
};

// prometheus-fastapi-instrumentator's families, as vLLM's dashboards ask for them.
TEST(Metrics, HttpRequestsByRouteMethodAndStatus) {
  TestServer server;
  HttpClient client(server.port());
  client.post("/v1/completions", R"({"prompt":"hello"})");
  client.post("/v1/completions", R"({"prompt":"hello","stream":true})");
  client.post("/v1/completions", "{}");
  client.get("/v1/models/no-such-model");
  client.get("/a/path/nobody/knows");
  client.get("/health");
  Scrape scrape(server.port());
  auto n = [&](const std::string& labels) {
    auto found = scrape.values().find("http_requests_total{" + labels + "}");
    return found == scrape.values().end() ? 0.0 : found->second;
  };
  EXPECT_EQ(n(R"(handler="/v1/completions",method="POST",status="2xx")"), 2);
  EXPECT_EQ(n(R"(handler="/v1/completions",method="POST",status="4xx")"), 1);
  EXPECT_EQ(n(R"(handler="/v1/models/",method="GET",status="4xx")"), 1);
  EXPECT_EQ(n(R"(handler="none",method="GET",status="4xx")"), 1);
  EXPECT_EQ(scrape.text().find(R"(handler="/health")"), std::string::npos);
  EXPECT_EQ(scrape("http_request_duration_seconds_count", R"(handler="/v1/completions",method="POST")"), 3);
  EXPECT_EQ(scrape("http_request_duration_seconds_bucket", R"(method="POST",le="+Inf")"), 3);
  EXPECT_EQ(scrape.values().at("http_request_duration_highr_seconds_count"), 5);
  EXPECT_TRUE(scrape.values().contains(R"(http_request_duration_highr_seconds_bucket{le="0.025"})"));
  EXPECT_EQ(scrape("http_request_size_bytes_sum", R"(handler="/v1/completions")"), 18 + 32 + 2);
  EXPECT_GT(scrape("http_response_size_bytes_sum", R"(handler="/v1/completions")"), 300);
  for (const char* name : {"process_virtual_memory_bytes", "process_resident_memory_bytes", "process_open_fds",
                           "process_max_fds", "process_cpu_seconds_total", "process_start_time_seconds"}) {
    ASSERT_TRUE(scrape.values().contains(name)) << name;
    EXPECT_GT(scrape.values().at(name), 0) << name;
  }
}

TEST(Metrics, EveryRowIsExposedWithItsTypeAndLabels) {
  TestServer server;
  Scrape scrape(server.port());
  for (const MetricRow& row : metric_table()) {
    std::string type = row.kind == MetricKind::kGauge     ? "gauge"
                       : row.kind == MetricKind::kCounter ? "counter"
                                                          : "histogram";
    EXPECT_NE(scrape.text().find("# TYPE " + std::string(row.name) + " " + type + "\n"), std::string::npos) << row.name;
    EXPECT_EQ(row.kind == MetricKind::kCounter, row.name.ends_with("_total") && row.kind != MetricKind::kHistogram)
        << row.name;
    for (std::string_view value : split_values(row.label_values)) {
      std::string name(row.name);
      if (row.kind == MetricKind::kHistogram) name += "_count";
      std::string labels =
          row.base == BaseLabels::kModelAndEngine ? "engine=\"0\",model_name=\"echo\"" : "model_name=\"echo\"";
      if (!row.label.empty()) labels += "," + std::string(row.label) + "=\"" + std::string(value) + "\"";
      if (!row.fixed_label.empty()) {
        labels += "," + std::string(row.fixed_label) + "=\"" + std::string(row.fixed_value) + "\"";
      }
      EXPECT_TRUE(scrape.values().contains(name + "{" + labels + "}")) << name << "{" << labels << "}";
    }
  }
  EXPECT_NE(scrape.text().find("vllm:cache_config_info{block_size=\"32\",cache_dtype=\"bf16\""), std::string::npos);
  EXPECT_EQ(scrape("millrace:build_info", "isa=\"none\""), 1);
  EXPECT_EQ(scrape("millrace:build_info", "commit=\"unknown\""), 1);
  EXPECT_EQ(scrape("vllm:engine_sleep_state", "sleep_state=\"awake\""), 1);
  EXPECT_EQ(HttpClient(server.port()).get("/metrics").header("Content-Type"),
            "text/plain; version=0.0.4; charset=utf-8");
}

TEST(Metrics, BucketsAreThoseOfTheInterface) {
  TestServer server;
  Scrape scrape(server.port());
  auto bounds = [&](const std::string& name) {
    std::set<double> out;
    std::string key = name + "_bucket{engine=\"0\",model_name=\"echo\",le=\"";
    for (const auto& [series, value] : scrape.values()) {
      if (!series.starts_with(key)) continue;
      double bound = 0;
      auto parsed = std::from_chars(series.data() + key.size(), series.data() + series.size(), bound);
      if (parsed.ec == std::errc() && bound < 1e30) out.insert(bound);
    }
    return std::vector<double>(out.begin(), out.end());
  };
  EXPECT_EQ(bounds("vllm:time_to_first_token_seconds"),
            (std::vector<double>{.001, .005, .01, .02, .04, .06, .08, .1, .25, .5,  .75,
                                 1,    2.5,  5,   7.5, 10,  20,  40,  80, 160, 640, 2560}));
  EXPECT_EQ(bounds("vllm:inter_token_latency_seconds"),
            (std::vector<double>{.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80}));
  EXPECT_EQ(
      bounds("vllm:e2e_request_latency_seconds"),
      (std::vector<double>{.3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680}));
  EXPECT_EQ(bounds("vllm:request_params_n"), (std::vector<double>{1, 2, 5, 10, 20}));
  EXPECT_EQ(bounds("vllm:request_prompt_tokens"),
            (std::vector<double>{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000}));
}

TEST(Metrics, ConstraintsCountTheirTimes) {
  TestServer server;
  HttpClient client(server.port());
  for (const char* regex : {"[0-9]{3}", "[0-9]{3}", "("}) {
    client.post("/v1/completions", R"({"prompt":"hi","max_tokens":2,"regex":")" + std::string(regex) + R"("})");
  }
  const std::string name = "millrace:grammar_compile_seconds";
  Scrape scrape(server.port());
  EXPECT_EQ(scrape(name + "_count"), 2);  // one was found again
  EXPECT_GT(scrape(name + "_sum"), 0);
  EXPECT_EQ(scrape(name + "_bucket", "+Inf"), 2);
  EXPECT_EQ(Scrape(server.port())(name + "_count"), 2);
  EXPECT_EQ(scrape("millrace:grammar_mask_seconds_count"), 0);  // an echo has no masks
}

TEST(Metrics, BucketOfIsInclusiveAbove) {
  const double bounds[] = {1, 2, 5};
  EXPECT_EQ(bucket_of(bounds, 0.5), 0u);
  EXPECT_EQ(bucket_of(bounds, 1), 0u);
  EXPECT_EQ(bucket_of(bounds, 1.1), 1u);
  EXPECT_EQ(bucket_of(bounds, 5), 2u);
  EXPECT_EQ(bucket_of(bounds, 6), 3u);
}

TEST(Metrics, AHungStepTakesTenTimesItsPredictionAndMoreThanASecond) {
  Metrics metrics;
  auto hung_after = [&](Tick took, Tick predicted) {
    metrics.on_step({.took = took, .predicted = predicted});
    return metrics.value(MetricId::kHungSteps);
  };
  EXPECT_EQ(hung_after(kSecond, kMillisecond), 0);
  EXPECT_EQ(hung_after(2 * kSecond, 300 * kMillisecond), 0);
  EXPECT_EQ(hung_after(60 * kSecond, 0), 0);  // nothing was predicted
  EXPECT_EQ(hung_after(2 * kSecond, 100 * kMillisecond), 1);
}

struct Tally {
  double prompt = 0;
  double output = 0;
  double cached = 0;
  double choices = 0;
  double stop = 0;
  double length = 0;
  double requests = 0;
};

// One request whose reply is counted as a client would.
void ask(HttpClient& client, const std::string& body, Tally& tally) {
  auto reply = client.post("/v1/completions", body);
  ASSERT_EQ(reply.status, 200) << reply.body;
  Json json = reply.json();
  const Json* usage = json.find("usage");
  tally.prompt += usage->find("prompt_tokens")->as_double();
  tally.output += usage->find("completion_tokens")->as_double();
  tally.cached += usage->find("prompt_tokens_details")->find("cached_tokens")->as_double();
  tally.requests += 1;
  for (const Json& choice : json.find("choices")->as_array()) {
    tally.choices += 1;
    (choice.find("finish_reason")->as_string() == "stop" ? tally.stop : tally.length) += 1;
  }
}

TEST(Metrics, CountersEqualWhatClientsSee) {
  TestServer server;
  server.backend().step_us = 200;
  Tally total;
  std::vector<std::thread> threads;
  std::vector<Tally> tallies(4);
  for (size_t t = 0; t < tallies.size(); ++t) {
    threads.emplace_back([&, t] {
      HttpClient client(server.port());
      for (int i = 0; i < 10; ++i) {
        std::string prompt =
            std::string(40 + static_cast<size_t>(i), static_cast<char>('a' + t)) + std::to_string(i % 3);
        ask(client, "{\"prompt\":\"" + prompt + "\",\"max_tokens\":" + (i % 2 == 0 ? "7" : "200") + "}", tallies[t]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Tally& tally : tallies) {
    total.prompt += tally.prompt;
    total.output += tally.output;
    total.cached += tally.cached;
    total.choices += tally.choices;
    total.stop += tally.stop;
    total.length += tally.length;
    total.requests += tally.requests;
  }
  ASSERT_TRUE(eventually([&] { return server.instance().stats().n_running == 0; }));
  Scrape scrape(server.port());
  EXPECT_EQ(scrape("vllm:prompt_tokens_total"), total.prompt);
  EXPECT_EQ(scrape("vllm:generation_tokens_total"), total.output);
  EXPECT_EQ(scrape("vllm:request_success_total", "finished_reason=\"stop\""), total.stop);
  EXPECT_EQ(scrape("vllm:request_success_total", "finished_reason=\"length\""), total.length);
  EXPECT_EQ(scrape("vllm:prefix_cache_hits_total"), total.cached);
  EXPECT_GT(total.cached, 0);
  EXPECT_EQ(scrape("vllm:prefix_cache_queries_total"), total.prompt);
  EXPECT_EQ(scrape("vllm:prompt_tokens_cached_total"), total.cached);
  EXPECT_EQ(scrape("vllm:prompt_tokens_cached_by_source_total", "source=\"device\""), total.cached);
  EXPECT_EQ(scrape("vllm:prompt_tokens_by_source_total", "source=\"local_cache_hit\""), total.cached);
  EXPECT_EQ(scrape("vllm:prompt_tokens_by_source_total", "source=\"local_compute\""), total.prompt - total.cached);
  EXPECT_EQ(scrape("vllm:time_to_first_token_seconds_count"), total.choices);
  EXPECT_EQ(scrape("vllm:inter_token_latency_seconds_count"), total.output - total.choices);
  EXPECT_EQ(scrape("millrace:inter_token_latency_fine_seconds_count"), total.output - total.choices);
  for (const char* name :
       {"vllm:e2e_request_latency_seconds", "vllm:request_queue_time_seconds", "vllm:request_prefill_time_seconds",
        "vllm:request_decode_time_seconds", "vllm:request_inference_time_seconds", "vllm:request_prompt_tokens",
        "vllm:request_generation_tokens", "vllm:request_max_num_generation_tokens", "vllm:request_params_max_tokens",
        "vllm:request_prefill_kv_computed_tokens", "vllm:request_num_preemptions"}) {
    EXPECT_EQ(scrape(std::string(name) + "_count"), total.choices) << name;
  }
  EXPECT_EQ(scrape("vllm:request_prompt_tokens_sum"), total.prompt);
  EXPECT_EQ(scrape("vllm:request_generation_tokens_sum"), total.output);
  EXPECT_EQ(scrape("vllm:request_params_max_tokens_sum"), total.requests / 2 * 207);
  EXPECT_EQ(scrape("vllm:request_prefill_kv_computed_tokens_sum"), total.prompt - total.cached);
  EXPECT_EQ(scrape("vllm:request_params_n_count"), total.requests);
  EXPECT_EQ(scrape("vllm:iteration_tokens_total_count"), static_cast<double>(server.backend().n_steps));
  EXPECT_EQ(scrape("vllm:iteration_tokens_total_sum"), static_cast<double>(server.backend().n_rows));
  EXPECT_EQ(scrape("millrace:step_time_seconds_count", "kind=\"prefill\"") +
                scrape("millrace:step_time_seconds_count", "kind=\"decode\"") +
                scrape("millrace:step_time_seconds_count", "kind=\"mixed\""),
            static_cast<double>(server.backend().n_steps));
  EXPECT_EQ(scrape("millrace:http_replies_total", "class=\"2xx\""), total.requests);
}

TEST(Metrics, TimesEqualWhatAClientMeasures) {
  TestServer server;
  server.backend().step_us = 20000;
  HttpClient client(server.port());
  auto begin = std::chrono::steady_clock::now();
  Tally tally;
  ask(client, R"({"prompt":"abcdefgh","max_tokens":11,"ignore_eos":true})", tally);
  double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  ASSERT_TRUE(eventually([&] { return server.instance().stats().n_running == 0; }));
  Scrape scrape(server.port());
  double ttft = scrape("vllm:time_to_first_token_seconds_sum");
  double e2e = scrape("vllm:e2e_request_latency_seconds_sum");
  double decode = scrape("vllm:request_decode_time_seconds_sum");
  EXPECT_GT(ttft, 0.019);
  EXPECT_LE(ttft, wall);
  EXPECT_GT(e2e, 0.2);
  EXPECT_LE(e2e, wall);
  EXPECT_LE(ttft + decode, e2e + 1e-6);
  EXPECT_NEAR(decode, scrape("vllm:inter_token_latency_seconds_sum"), 1e-6);
  EXPECT_NEAR(decode / 10, scrape("vllm:request_time_per_output_token_seconds_sum"), 1e-6);
  EXPECT_NEAR(scrape("vllm:request_inference_time_seconds_sum"),
              scrape("vllm:request_prefill_time_seconds_sum") + decode, 1e-6);
  EXPECT_GT(scrape("vllm:request_prefill_time_seconds_sum"), 0.019);
  EXPECT_LE(scrape("vllm:request_queue_time_seconds_sum") + scrape("vllm:request_prefill_time_seconds_sum"),
            ttft + 1e-6);
  // The mean of the speeds is at least the speed of the mean.
  double itl = scrape("millrace:predicted_itl_seconds");
  EXPECT_GE(itl, 0.02);
  EXPECT_LE(itl, scrape("millrace:step_time_seconds_sum", "kind=\"decode\""));
  EXPECT_GE(scrape("millrace:decode_tokens_per_second"), 0.999 / itl);
  EXPECT_LT(scrape("millrace:decode_tokens_per_second"), 51);
  EXPECT_NEAR(
      scrape("millrace:prefill_tokens_per_second") * scrape("millrace:step_time_seconds_sum", "kind=\"prefill\""), 8,
      0.01);
  // Steps of the echo take 20 ms whatever their rows, and the cost model knows it: not 512 tokens at the speed of four.
  double speed = scrape("millrace:prefill_tokens_per_second");
  EXPECT_GT(scrape("millrace:predicted_ttft_seconds", "prompt_tokens=\"512\""), 0.015);
  EXPECT_LT(scrape("millrace:predicted_ttft_seconds", "prompt_tokens=\"512\""), 512 / speed);
  // The second request has a prediction to compare with.
  ask(client, R"({"prompt":"zyxw","max_tokens":2})", tally);
  EXPECT_EQ(Scrape(server.port())("millrace:ttft_prediction_ratio_count"), 1);
}

TEST(Metrics, TheCostOfStepsIsSharedByTheirRows) {
  TestServer server;
  server.backend().step_us = 1000;
  HttpClient client(server.port());
  Tally tally;
  for (int i = 0; i < 3; ++i) ask(client, R"({"prompt":"abcdefgh","max_tokens":5,"n":2})", tally);
  ASSERT_TRUE(eventually([&] { return server.instance().stats().n_running == 0; }));
  Scrape scrape(server.port());
  auto cost = [&](const std::string& phase) {
    return scrape("millrace:request_cost_seconds_total", "phase=\"" + phase + "\"");
  };
  double steps = 0;
  for (const char* kind : {"prefill", "decode", "mixed"}) {
    steps += scrape("millrace:step_time_seconds_sum", "kind=\"" + std::string(kind) + "\"");
  }
  EXPECT_NEAR(cost("prefill") + cost("decode"), steps, 1e-6);
  EXPECT_GT(cost("decode"), cost("prefill"));
  EXPECT_EQ(cost("draft") + cost("recompute") + cost("grammar"), 0);
}

TEST(Metrics, ATokenLaterThanItsRequestAskedForIsCounted) {
  TestServer server;
  server.backend().step_us = 20000;
  HttpClient client(server.port());
  Tally tally;
  ask(client, R"({"prompt":"abcdefgh","max_tokens":4})", tally);
  EXPECT_EQ(Scrape(server.port())("millrace:itl_contract_violations_total"), 0) << "nobody asked";
  ask(client, R"({"prompt":"abcdefgh","max_tokens":4,"millrace":{"itl_slo_ms":1}})", tally);
  EXPECT_EQ(Scrape(server.port())("millrace:itl_contract_violations_total"), 3);
  ask(client, R"({"prompt":"abcdefgh","max_tokens":4,"millrace":{"itl_slo_ms":80000}})", tally);
  EXPECT_EQ(Scrape(server.port())("millrace:itl_contract_violations_total"), 3);
}

TEST(Metrics, ServiceOfTenants) {
  ServerOptions options;
  options.api_keys = {"one", "two"};
  TestServer server(options);
  HttpClient client(server.port());
  client.post("/v1/completions", R"({"prompt":"abcdefgh","max_tokens":5})", "Authorization: Bearer two\r\n");
  Scrape scrape(server.port());
  EXPECT_EQ(scrape("millrace:tenant_service_tokens_total", "tenant=\"key-2\""), 8 + 5);
  EXPECT_EQ(scrape("millrace:tenant_service_tokens_total", "tenant=\"default\""), 0);
  EXPECT_EQ(scrape("millrace:tenant_service_tokens_total", "tenant=\"key-1\""), -1) << "nothing was served to it";
}

TEST(Metrics, TenantsBeyondTheMostShareASeries) {
  TenantService service;
  for (int i = 0; i < 500; ++i) service.add("t" + std::to_string(i), 2);
  auto all = service.tokens();
  EXPECT_EQ(all.size(), TenantService::kMostTenants);
  uint64_t sum = 0;
  for (const auto& [name, n] : all) sum += n;
  EXPECT_EQ(sum, 1000u);
  service.add("other", 1);
  service.add("", 1);
  EXPECT_EQ(service.tokens().size(), TenantService::kMostTenants);
}

TEST(Metrics, UnknownFieldsByDialect) {
  TestServer server;
  HttpClient client(server.port());
  auto n = [&](const std::string& dialect) {
    return Scrape(server.port())("millrace:unknown_fields_total", "dialect=\"" + dialect + "\"");
  };
  client.post("/v1/completions", R"({"prompt":"a","max_tokens":1,"zz":1,"yy":2})");
  client.post("/completion", R"({"prompt":"a","n_predict":1,"zz":1})");
  client.post("/api/generate", R"({"model":"echo","prompt":"a","stream":false,"options":{"num_predict":1,"zz":1}})");
  client.post("/generate", R"({"text":"a","sampling_params":{"max_new_tokens":1,"zz":1}})");
  client.post("/generate", R"({"inputs":"a","parameters":{"max_new_tokens":1,"zz":1}})");
  EXPECT_EQ(n("openai"), 2);
  EXPECT_EQ(n("llama-server"), 1);
  EXPECT_EQ(n("ollama"), 1);
  EXPECT_EQ(n("sglang"), 1);
  EXPECT_EQ(n("tgi"), 1);
}

TEST(Metrics, EventsOfTheCacheAreTheServers) {
  ServerOptions options;
  options.kv_event_counts = [] { return KvEventCounts{.n_sent = 7, .n_dropped = 3}; };
  TestServer server(options);
  Scrape scrape(server.port());
  EXPECT_EQ(scrape("millrace:kv_events_total", "result=\"sent\""), 7);
  EXPECT_EQ(scrape("millrace:kv_events_total", "result=\"dropped\""), 3);
}

TEST(Metrics, ARefusalNamesTheLimit) {
  testing::EchoOptions echo;
  echo.max_live = 1;
  echo.max_queued_requests = 1;
  TestServer server({}, echo);
  server.backend().hold();
  const std::string body = R"({"prompt":"abcdefgh","max_tokens":2})";
  auto stats = [&] { return server.instance().engine().stats(); };
  HttpClient running(server.port());
  running.send(HttpClient::post_bytes("/v1/completions", body));
  ASSERT_TRUE(eventually([&] { return stats().n_requests == 1 && stats().queued_tokens == 0; }));
  HttpClient waiting(server.port());
  waiting.send(HttpClient::post_bytes("/v1/completions", body));
  ASSERT_TRUE(eventually([&] { return stats().n_requests == 2; }));
  EXPECT_EQ(HttpClient(server.port()).post("/v1/completions", body).status, 503);
  server.backend().release();
  Scrape scrape(server.port());
  EXPECT_EQ(scrape("vllm:admission_rejections_total", "reason=\"max_num_queued_reqs\""), 1);
  EXPECT_EQ(scrape("vllm:admission_rejections_total", "reason=\"max_num_queued_tokens\""), 0);
  EXPECT_EQ(scrape("millrace:requests_shed_total", "reason=\"queue_reqs\""), 1);
}

TEST(Metrics, GaugesFollowTheLoad) {
  testing::EchoOptions echo;
  echo.max_live = 2;
  TestServer server({}, echo);
  server.backend().step_us = 20'000;  // half a minute of work
  std::vector<std::unique_ptr<HttpClient>> clients;
  std::string body =
      R"({"prompt":"abcdefghijabcdefghijabcdefghijabcdefghij","max_tokens":1500,"ignore_eos":true,"stream":true})";
  for (int i = 0; i < 5; ++i) {
    clients.push_back(std::make_unique<HttpClient>(server.port()));
    clients.back()->send(HttpClient::post_bytes("/v1/completions", body));
  }
  ASSERT_TRUE(eventually([&] { return server.instance().stats().n_waiting == 3; }));
  ASSERT_TRUE(clients[0]->receive());
  Scrape scrape(server.port());
  EXPECT_EQ(scrape("vllm:num_requests_running"), 2);
  EXPECT_EQ(scrape("vllm:num_requests_waiting"), 3);
  EXPECT_EQ(scrape("vllm:num_requests_waiting_by_reason", "reason=\"capacity\"") +
                scrape("vllm:num_requests_waiting_by_reason", "reason=\"deferred\""),
            3);
  EXPECT_EQ(scrape("millrace:queued_prompt_tokens"), 120);
  const double shared = scrape("millrace:shared_prefix_running_tokens_total");  // 32 when one found the other's block
  EXPECT_GT(scrape("millrace:predicted_queue_drain_seconds"), 0);
  EXPECT_GT(scrape("vllm:kv_cache_usage_perc"), 0);
  EXPECT_EQ(scrape("millrace:kv_blocks", "state=\"free\"") + scrape("millrace:kv_blocks", "state=\"cached\"") +
                scrape("millrace:kv_blocks", "state=\"active\"") + scrape("millrace:kv_blocks", "state=\"cooling\""),
            256);
  EXPECT_EQ(scrape("millrace:http_streams_open"), 5);
  EXPECT_EQ(scrape("millrace:http_connections_open"), 6);
  EXPECT_EQ(scrape("millrace:engine_state", "state=\"ready\""), 1);
  EXPECT_EQ(scrape("millrace:memory_bytes", "kind=\"weights\""), 1000);
  EXPECT_EQ(scrape("millrace:memory_bytes", "kind=\"kv\""), 2000);
  EXPECT_EQ(scrape("millrace:memory_bytes", "kind=\"activations\""), 3000);
  EXPECT_EQ(HttpClient(server.port()).get("/load").body, "{\"server_load\":5}");
  auto health = HttpClient(server.port()).get("/health").json();
  EXPECT_EQ(health.find("running")->as_int(), 2);
  EXPECT_EQ(health.find("waiting")->as_int(), 3);
  clients.erase(clients.begin());  // the next one finds the prompt in blocks that are in use
  ASSERT_TRUE(
      eventually([&] { return Scrape(server.port())("millrace:shared_prefix_running_tokens_total") > shared; }));
  clients.clear();
  ASSERT_TRUE(eventually([&] { return server.context().metrics.value(MetricId::kStreamsOpen) == 0; }));
  ASSERT_TRUE(eventually([&] { return server.instance().stats().kv_blocks_active == 0; }));
  Scrape after(server.port());
  EXPECT_EQ(after("vllm:num_requests_running") + after("vllm:num_requests_waiting"), 0);
  EXPECT_EQ(after("vllm:request_success_total", "finished_reason=\"abort\""), 5);
  EXPECT_EQ(after("millrace:client_disconnects_total", "phase=\"queued\"") +
                after("millrace:client_disconnects_total", "phase=\"running\""),
            5);
  EXPECT_EQ(after("vllm:kv_cache_usage_perc"), 0);
}

TEST(Metrics, SnapshotsAreShared) {
  TestServer server;
  Metrics& metrics = server.context().metrics;
  std::string first = metrics.text(&server.instance(), {.version = "0", .commit = "c"});
  metrics.add(MetricId::kUnknownFields, 1);
  EXPECT_EQ(metrics.text(&server.instance(), {.version = "0", .commit = "c"}), first);
  EXPECT_TRUE(eventually([&] { return metrics.text(&server.instance(), {.version = "0", .commit = "c"}) != first; }));
}

}  // namespace
}  // namespace millrace::server
