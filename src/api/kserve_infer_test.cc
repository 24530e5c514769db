// KServe v2 infer: tensors of the JSON and of the bytes behind it become the same request, and what cannot be meant is
// refused by name. Layouts after the Open Inference Protocol and Triton's binary tensor data extension.
#include "api/kserve_infer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "api/output.h"
#include "tests/support/tiny_context.h"

namespace millrace::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const ParseContext& kContext = support::kTinyContext;
using support::json;
using support::kLimits;

std::string body_of(std::string_view inputs, std::string_view more = "") {
  return "{\"inputs\":[" + std::string(inputs) + "]" + std::string(more) + "}";
}
constexpr std::string_view kText = R"({"name":"text_input","datatype":"BYTES","shape":[1],"data":["hi"]})";

CompletionRequest request_of(const Json& body) {
  auto parsed = parse_kserve_infer(body, kContext, {});
  EXPECT_TRUE(parsed.ok()) << (parsed.ok() ? "" : parsed.error().message);
  return parsed.ok() ? std::get<CompletionRequest>(std::move(parsed->body)) : CompletionRequest{};
}

std::string refusal(std::string_view body, std::string_view bytes = "") {
  auto whole = with_tensor_bytes(json(body), bytes, kLimits);
  if (!whole.ok()) return whole.error().message;
  auto parsed = parse_kserve_infer(*whole, kContext, {});
  return parsed.ok() ? "accepted" : parsed.error().message;
}

TEST(KserveInferTest, TextsAndFields) {
  CompletionRequest one = request_of(json(body_of(kText)));
  EXPECT_THAT(one.prompts, ElementsAre(PromptInput("hi")));
  EXPECT_FALSE(one.common.stream.stream);
  CompletionRequest two = request_of(json(body_of(
      R"({"name":"text_input","datatype":"BYTES","shape":[2,1],"data":[["a"],["b"]]},
         {"name":"max_tokens","datatype":"INT32","shape":[1],"data":[5]},
         {"name":"stream","datatype":"BOOL","shape":[1],"data":[false]},
         {"name":"sampling_parameters","datatype":"BYTES","shape":[1],"data":["{\"top_k\":3,\"stop\":\"x\"}"]})",
      R"(,"parameters":{"temperature":0.5,"sequence_id":4,"timeout":2500000},"outputs":[{"name":"text_output"}])")));
  EXPECT_THAT(two.prompts, ElementsAre(PromptInput("a"), PromptInput("b")));
  EXPECT_EQ(two.common.max_tokens, 5);
  EXPECT_EQ(two.common.sampling.top_k, 3);
  EXPECT_FLOAT_EQ(two.common.sampling.temperature, 0.5f);
  EXPECT_EQ(two.common.caller.timeout_s, 2.5);
}

TEST(KserveInferTest, BytesBehindTheJson) {
  std::string inputs = R"({"name":"text_input","datatype":"BYTES","shape":[2],"parameters":{"binary_data_size":13}},
    {"name":"max_tokens","datatype":"INT32","shape":[1],"parameters":{"binary_data_size":4}},
    {"name":"temperature","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}})";
  std::string bytes("\x02\0\0\0hi\x03\0\0\0you\x07\0\0\0\0\0\0\x3f", 21);
  auto whole = with_tensor_bytes(json(body_of(inputs)), bytes, kLimits);
  ASSERT_TRUE(whole.ok()) << whole.error().message;
  CompletionRequest request = request_of(*whole);
  EXPECT_THAT(request.prompts, ElementsAre(PromptInput("hi"), PromptInput("you")));
  EXPECT_EQ(request.common.max_tokens, 7);
  EXPECT_FLOAT_EQ(request.common.sampling.temperature, 0.5f);
}

TEST(KserveInferTest, RefusalsNameWhatIsWrong) {
  EXPECT_THAT(refusal("{}"), HasSubstr("inputs is required"));
  EXPECT_THAT(refusal(body_of("")), HasSubstr("text_input"));
  EXPECT_THAT(refusal(body_of("5")), HasSubstr("inputs[0] must be an object"));
  auto text = [](std::string_view rest) {
    return body_of(R"({"name":"text_input","datatype":"BYTES",)" + std::string(rest) + "}");
  };
  EXPECT_THAT(refusal(text(R"("shape":[2],"data":["a"])")), HasSubstr("has 2 elements, data has 1"));
  EXPECT_THAT(refusal(text(R"("shape":[-1],"data":["a"])")), HasSubstr("inputs[0].shape"));
  EXPECT_THAT(refusal(text(R"("shape":[4294967296,4294967296],"data":[])")), HasSubstr("inputs[0].shape"));
  EXPECT_THAT(refusal(text(R"("shape":[1])")), HasSubstr("inputs[0].data"));
  EXPECT_THAT(refusal(text(R"("shape":[1],"data":[""])")), HasSubstr("must not be empty"));
  EXPECT_THAT(refusal(text(R"("shape":[1],"data":[4])")), HasSubstr("must hold strings"));
  EXPECT_THAT(refusal(text(R"("shape":[0],"data":[])")), HasSubstr("no element"));
  auto also = [](std::string_view input) { return body_of(std::string(kText) + "," + std::string(input)); };
  EXPECT_THAT(refusal(also(R"({"name":"stream","datatype":"BOOL","shape":[1],"data":[true]})")),
              HasSubstr("generate_stream"));
  EXPECT_THAT(refusal(also(R"({"name":"max_tokens","datatype":"INT32","shape":[2],"data":[1,2]})")),
              HasSubstr("max_tokens must have one element"));
  EXPECT_THAT(refusal(also(R"({"name":"temperature","datatype":"FP32","shape":[1],"data":["x"]})")),
              HasSubstr("temperature"));
  EXPECT_THAT(refusal(also(R"({"name":"sampling_parameters","datatype":"BYTES","shape":[1],"data":["{"]})")),
              HasSubstr("sampling_parameters must be a JSON object"));
  EXPECT_THAT(refusal(body_of(kText, R"(,"outputs":[{"name":"logits"}])")), HasSubstr("text_output"));
  EXPECT_THAT(refusal(body_of(kText, R"(,"parameters":7)")), HasSubstr("parameters must be an object"));
  EXPECT_THAT(refusal(body_of(kText, R"(,"id":7)")), HasSubstr("id must be a string"));
}

TEST(KserveInferTest, RefusesBytesThatDoNotFit) {
  auto binary = [](std::string_view datatype, int size) {
    return body_of(R"({"name":"text_input","datatype":")" + std::string(datatype) +
                   R"(","shape":[1],"parameters":{"binary_data_size":)" + std::to_string(size) + "}}");
  };
  EXPECT_THAT(refusal(binary("BYTES", 7), "abc"), HasSubstr("binary_data_size must be in 0..3"));
  EXPECT_THAT(refusal(binary("BYTES", -1), "abc"), HasSubstr("binary_data_size"));
  EXPECT_THAT(refusal(binary("BYTES", 3), "abc"), HasSubstr("ends inside the length"));
  EXPECT_THAT(refusal(binary("BYTES", 5), std::string("\x09\0\0\0a", 5)), HasSubstr("9 bytes and 1 are left"));
  EXPECT_THAT(refusal(binary("BYTES", 5), std::string("\x01\0\0\0\xff", 5)), HasSubstr("not UTF-8"));
  EXPECT_THAT(refusal(binary("FP16", 2), "ab"), HasSubstr("datatype"));
  EXPECT_THAT(refusal(binary("INT32", 3), "abc"), HasSubstr("whole number"));
  EXPECT_THAT(refusal(body_of(kText), "abc"), HasSubstr("leave 3 bytes"));
  std::string many(size_t{5} * 65536, '\0');
  EXPECT_THAT(refusal(binary("BYTES", static_cast<int>(many.size())), many), HasSubstr("more than"));
  std::string nan("\0\0\xc0\x7f", 4);
  std::string inputs = std::string(kText) +
                       R"(,{"name":"temperature","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}})";
  EXPECT_THAT(refusal(body_of(inputs), nan), HasSubstr("temperature must be finite"));
}

}  // namespace
}  // namespace millrace::api
