// Writes the seed files of the fuzz targets: OUT/gguf, OUT/safetensors, OUT/api_body (valid, tiny, of every kind the
// readers know). The seeds of jinja and tokenizer_json are the reference files of tests/golden/data.
#include <fmt/core.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "api/fields.h"
#include "base/byte_reader.h"
#include "base/json.h"
#include "tensor/formats.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/tiny_model.h"

namespace {

using namespace millrace;

void write(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

void write_gguf(const std::filesystem::path& folder) {
  for (const tensor::FormatInfo& info : tensor::kFormats) {
    testing::TinyModel tiny;
    tiny.format = info.format;
    tiny.n_layers = 1;
    tiny.d_model = tiny.d_ff = std::max<uint32_t>(info.group_values, 32);
    tiny.n_heads = tiny.n_kv_heads = 1;
    tiny.head_dim = 32;
    tiny.n_vocab = 32;
    for (auto architecture : {weights::Architecture::kLlama, weights::Architecture::kGemma3}) {
      tiny.architecture = architecture;
      std::vector<uint8_t> bytes = testing::tiny_gguf(tiny);
      write(folder / fmt::format("{}_{}", info.name, static_cast<int>(architecture)), as_text(bytes));
    }
  }
}

void write_safetensors(const std::filesystem::path& folder) {
  for (const char* dtype : {"F32", "F16", "BF16"}) {
    testing::SafetensorsWriter writer;
    const std::vector<float> values(12, 0.5f);
    writer.add("a", dtype, tensor::Shape{3, 4}, values);
    writer.add("b.weight", dtype, tensor::Shape{12}, values);
    write(folder / dtype, writer.build());
  }
  write(folder / "config", R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":64,)"
                           R"("intermediate_size":128,"num_hidden_layers":2,"num_attention_heads":4,)"
                           R"("num_key_value_heads":2,"vocab_size":256,"max_position_embeddings":128,)"
                           R"("rms_norm_eps":1e-5,"rope_theta":10000.0,"eos_token_id":[1,2],"bos_token_id":1})");
}

// One body per row of the field table, with a value of the right type, on both routes.
void write_bodies(const std::filesystem::path& folder) {
  const Json messages =
      *parse_json(R"([{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"u"}]},)"
                  R"({"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},)"
                  R"({"role":"tool","tool_call_id":"c","content":"x"}])");
  for (const api::Field& field : api::request_fields()) {
    Json body = Json::object();
    body.set("messages", messages);
    body.set("prompt", *parse_json("[[1,2],[3]]"));
    switch (field.type) {
      case api::FieldType::kBool:
        body.set(field.name, true);
        break;
      case api::FieldType::kInt:
      case api::FieldType::kNumber:
        body.set(field.name, 1);
        break;
      case api::FieldType::kTokenIds:
        body.set(field.name, *parse_json("[1,2]"));
        break;
      case api::FieldType::kLogitBias:
        body.set(field.name, *parse_json(R"({"3":1.5,"4":-100})"));
        break;
      case api::FieldType::kObject:
        body.set(field.name, Json::object());
        break;
      case api::FieldType::kString:
      case api::FieldType::kVisible:
      case api::FieldType::kSalt:
      case api::FieldType::kStop:
      case api::FieldType::kChoice:
        body.set(field.name, field.words.substr(0, field.words.find('|')));
        break;
      case api::FieldType::kArray:
      case api::FieldType::kAny:
        break;
    }
    write(folder / field.name, body.dump());
  }
  write(folder / "tokenize", R"({"content":"a","add_special":true,"with_pieces":true,"tokens":[1,2]})");
}

// A request per route and framing; the bodies of api_body are within reach of a mutation.
void write_http(const std::filesystem::path& folder) {
  auto post = [](std::string_view path, std::string_view body) {
    return fmt::format("POST {} HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
                       path, body.size(), body);
  };
  int n = 0;
  auto add = [&](const std::string& bytes) { write(folder / fmt::format("{}", n++), bytes); };
  for (const char* path :
       {"/health", "/metrics", "/v1/models", "/props", "/slots", "/openapi.json", "/v2", "/api/tags", "/"}) {
    add(fmt::format("GET {} HTTP/1.1\r\nHost: t\r\n\r\n", path));
  }
  const char* messages = R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":3,"stream":true})";
  for (const char* path : {"/v1/chat/completions", "/v1/messages", "/api/chat", "/apply-template"})
    add(post(path, messages));
  const char* prompt = R"({"prompt":"hi","max_tokens":3,"n":2,"stop":["x"]})";
  for (const char* path : {"/v1/completions", "/completion", "/api/generate", "/invocations"}) add(post(path, prompt));
  add(post("/generate", R"({"inputs":"hi","parameters":{"max_new_tokens":3,"details":true}})"));
  add(post("/generate", R"({"text":"hi","sampling_params":{"max_new_tokens":3},"stream":true})"));
  add(post("/v1/responses", R"({"input":"hi","max_output_tokens":3,"stream":true})"));
  add(post("/v2/models/echo/generate", R"({"text_input":"hi"})"));
  add(post("/v1/embeddings", R"({"input":["hi",[1,2]]})") + post("/tokenize", R"({"content":"hi"})"));
  add("POST /v1/completions HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
      "10\r\n{\"prompt\":\"hey\",\r\nf\r\n\"max_tokens\":1} \r\n0\r\nX: y\r\n\r\n");
  add("OPTIONS /v1/models HTTP/1.1\r\nHost: t\r\nOrigin: http://a\r\n\r\nHEAD / HTTP/1.0\r\n\r\n");
  add("POST /v1/completions HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: fuzz_seeds OUT\n");
    return 2;
  }
  const std::filesystem::path out = argv[1];
  write_gguf(out / "gguf");
  write_safetensors(out / "safetensors");
  write_bodies(out / "api_body");
  write_http(out / "http");
  return 0;
}
