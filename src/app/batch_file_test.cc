// Rows of `millrace batch`: the format of OpenAI's batch API (platform.openai.com/docs/guides/batch), errors by row,
// and what a second run keeps of the first.
#include "app/batch_file.h"

#include <gtest/gtest.h>

namespace millrace::app {
namespace {

const Limits kLimits;

TEST(BatchFileTest, ReadsARow) {
  BatchRow row;
  auto read = parse_batch_row(
      R"({"custom_id":"request-1","method":"POST","url":"/v1/chat/completions","body":{"model":"m","max_tokens":3}})",
      kLimits, row);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(row.custom_id, "request-1");
  EXPECT_EQ(row.url, "/v1/chat/completions");
  EXPECT_EQ(row.body.dump(), R"({"model":"m","max_tokens":3})");
}

TEST(BatchFileTest, NamesWhatIsWrongWithARow) {
  struct Case {
    const char* line;
    const char* param;
  };
  for (const Case& bad :
       {Case{R"({"url":"/v1/completions","body":{}})", "custom_id"},
        Case{R"({"custom_id":7,"url":"/v1/completions","body":{}})", "custom_id"},
        Case{R"({"custom_id":"a","body":{}})", "url"}, Case{R"({"custom_id":"a","url":"/u"})", "body"},
        Case{R"({"custom_id":"a","url":"/u","body":[]})", "body"},
        Case{R"({"custom_id":"a","method":"GET","url":"/u","body":{}})", "method"},
        Case{R"({"custom_id":"a","url":"/u","body":{"stream":true}})", "body.stream"}, Case{R"([1])", ""},
        Case{R"({"custom_id")", ""}}) {
    BatchRow row;
    auto read = parse_batch_row(bad.line, kLimits, row);
    ASSERT_FALSE(read.ok()) << bad.line;
    EXPECT_EQ(read.error().param, bad.param) << bad.line;
    bool named = std::string_view(bad.line).find(R"("custom_id":"a")") != std::string_view::npos;
    EXPECT_EQ(row.custom_id, named ? "a" : "") << bad.line;
  }
}

TEST(BatchFileTest, WritesRowsOfTheFormat) {
  auto answer = parse_json(batch_answer("a\"b", "r1", 200, R"({"x":1})"));
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(
      answer->dump(),
      R"({"id":"batch_req_r1","custom_id":"a\"b","response":{"status_code":200,"request_id":"r1","body":{"x":1}},)"
      R"("error":null})");
  auto refusal = parse_json(batch_refusal("", Error{ErrorCode::kInvalidJson, "no JSON", ""}));
  ASSERT_TRUE(refusal.ok());
  EXPECT_TRUE(refusal->find("custom_id")->is_null());
  EXPECT_TRUE(refusal->find("response")->is_null());
  EXPECT_EQ(refusal->find("error")->dump(), R"({"code":"invalid_json","message":"no JSON"})");
}

TEST(BatchFileTest, ASecondRunKeepsAnswersAndRunsTheRestAgain) {
  std::string good = batch_answer("good", "1", 200, "{}");
  std::string bad = batch_answer("bad", "2", 400, "{}");
  std::string refused = batch_refusal("refused", Error{ErrorCode::kMissingField, "body is required", "body"});
  std::string overloaded = batch_answer("overloaded", "3", 503, "{}");
  std::string limited = batch_answer("limited", "4", 429, "{}");
  std::string nameless = batch_refusal("", Error{ErrorCode::kInvalidJson, "no JSON", ""});
  std::string torn = batch_answer("torn", "5", 200, "{}");
  torn.pop_back();
  BatchProgress progress =
      read_batch_progress(good + overloaded + bad + "rubbish\n" + limited + refused + nameless + good + torn, kLimits);
  EXPECT_EQ(progress.kept, good + bad + refused);
  EXPECT_EQ(progress.answered, (std::set<std::string>{"good", "bad", "refused"}));
}

}  // namespace
}  // namespace millrace::app
