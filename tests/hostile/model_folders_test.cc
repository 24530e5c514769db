// Rows M19..M27: safetensors files, shard lists and configs that must be refused, with the text of each refusal.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/byte_reader.h"
#include "tests/hostile/refusal.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_dir.h"
#include "weights/safetensors.h"

namespace millrace::testing {
namespace {

constexpr const char* kConfig = R"({"model_type":"llama","num_hidden_layers":1,"hidden_size":256,
  "intermediate_size":512,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":64})";

struct BadFile {
  std::string id;
  std::string bytes;
  std::string want;
};

void expect_all_refused(const std::vector<BadFile>& files) {
  TempDir dir;
  dir.write("config.json", kConfig);
  for (const BadFile& file : files) {
    dir.write("model.safetensors", file.bytes);
    expect_refused(dir.path() + "/", file.id, file.want);
    // the same bytes as a heap block of their own, so that a sanitizer sees any overrun
    std::string copy(file.bytes.begin(), file.bytes.end());
    EXPECT_FALSE(weights::parse_safetensors(as_bytes(copy)).ok()) << file.id;
  }
}

std::string framed(const std::string& header, size_t n_data = 0) {
  return SafetensorsWriter::frame(header, std::string(n_data, '\x01'));
}

std::string with_length(uint64_t length, const std::string& rest) {
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + rest;
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets, size_t n_data) {
  return framed("{" + entry("w", dtype, shape, offsets) + "}", n_data);
}

TEST(HostileSafetensors, M19HeaderLength) {
  expect_all_refused({
      {"M19 empty", "", "not a model file: 0 bytes, need at least 8"},
      {"M19 seven bytes", "1234567", "not a model file: 7 bytes, need at least 8"},
      {"M19 0", with_length(0, "{}"), "header length 0: must be 2..100000000"},
      {"M19 1", with_length(1, "{}"), "header length 1: must be 2..100000000"},
      {"M19 7", with_length(7, R"({"w":{}})"), "header is not valid JSON"},
      {"M19 past the end", with_length(100, "{}"), "header length 100 exceeds the 2 bytes left"},
      {"M19 100,000,001", with_length(100'000'001, "{}"), "header length 100000001 exceeds limit 100000000"},
      {"M19 2^63", with_length(uint64_t{1} << 63, "{}"), "header length 9223372036854775808 exceeds limit 100000000"},
      {"M19 2^64-1", with_length(~uint64_t{0}, "{}"), "exceeds limit 100000000"},
  });
}

TEST(HostileSafetensors, M20HeaderJson) {
  std::string valid = entry("w", "F32", "[1]", "[0,4]");
  std::string deep;
  for (int i = 0; i < 1000; ++i) deep += "[";
  std::string many = "{\"a\":[0";
  for (int i = 0; i < 1'600'000; ++i) many += ",0";
  expect_all_refused({
      {"M20 array", framed("[]"), "header is not valid JSON at byte 0: must start with \"{\""},
      {"M20 space first", framed(" {}"), "header is not valid JSON at byte 0"},
      {"M20 pickle", framed("\x80\x02}q\x01."), "header is not valid JSON at byte 0"},
      {"M20 UTF-8", framed("{\"\xFF\":1}"), "header is not valid JSON"},
      {"M20 trailing", framed("{" + valid + "}x", 4), "header is not valid JSON"},
      {"M20 cut", framed("{" + valid, 4), "header is not valid JSON"},
      {"M20 NaN", framed(R"({"w":NaN})"), "header is not valid JSON"},
      {"M20 twice", framed("{" + valid + "," + valid + "}", 4), "duplicate key \"w\""},
      {"M20 inner key twice", framed(R"({"w":{"dtype":"F32","dtype":"F16"}})"), "duplicate key \"dtype\""},
      {"M20 depth", framed("{\"a\":" + deep), "header is not valid JSON"},
      {"M20 values", framed(many + "]}"), "header is not valid JSON"},
      {"M20 metadata array", framed(R"({"__metadata__":[]})"), "__metadata__ must be an object"},
      {"M20 metadata number", framed(R"({"__metadata__":{"a":1}})"), "__metadata__ \"a\" must be a string"},
  });
}

TEST(HostileSafetensors, M21M22ShapesAndOffsets) {
  std::vector<BadFile> files = {
      {"M21 wraps to 4", one("F32", "[4194305,4194305,211106198978564]", "[0,16]", 16),
       "tensor \"w\": element count overflows"},
      {"M21 bytes wrap", one("F32", "[4611686018427387904]", "[0,0]", 0), "tensor \"w\": "},
      {"M21 negative", one("F32", "[-1]", "[0,4]", 4), "tensor \"w\": bad shape"},
      {"M21 float", one("F32", "[1.5]", "[0,4]", 4), "tensor \"w\": bad shape"},
      {"M21 2^64", one("F32", "[18446744073709551616]", "[0,4]", 4), "tensor \"w\": bad shape"},
      {"M21 string", one("F32", "\"1\"", "[0,4]", 4), "tensor \"w\": bad shape"},
      {"M21 five", one("F32", "[1,1,1,1,1]", "[0,4]", 4), "n_dims = 5: must be 0..4"},
      {"M21 not an object", framed(R"({"w":7})"), "tensor \"w\": bad dtype"},
      {"M22 short", one("F32", "[1000,1000]", "[0,4]", 4), "tensor \"w\": 4 bytes given, 4000000 needed"},
      {"M22 long", one("F32", "[1]", "[0,8]", 8), "tensor \"w\": 8 bytes given, 4 needed"},
      {"M22 past the end", one("F32", "[2]", "[0,8]", 4), "ends at 8 but the buffer has 4 bytes"},
  };
  for (const char* offsets : {"[4,0]", "[0]", "[0,2,4]", "[0.0,4.0]", "[-4,0]", "[0,1e30]", "null", "{}", "[null,4]",
                              "[0,18446744073709551615]"}) {
    files.push_back({std::string("M22 ") + offsets, one("F32", "[1]", offsets, 4), "tensor \"w\": bad data_offsets"});
  }
  files.push_back({"M22 absent", framed(R"({"w":{"dtype":"F32","shape":[1]}})", 4), "bad data_offsets"});
  expect_all_refused(files);
}

TEST(HostileSafetensors, M23M24Coverage) {
  std::string a = entry("a", "F32", "[32]", "[0,128]");
  expect_all_refused({
      {"M23 hole at the end", framed("{" + a + "}", 256), "bytes 128..255 not covered by any tensor"},
      {"M23 hole at the start", framed("{" + entry("a", "F32", "[1]", "[4,8]") + "}", 8), "bytes 0..3 not covered"},
      {"M23 hole between", framed("{" + a + "," + entry("b", "F32", "[1]", "[132,136]") + "}", 136),
       "bytes 128..131 not covered"},
      {"M23 overlap", framed("{" + a + "," + entry("b", "F32", "[32]", "[64,192]") + "}", 192),
       "\"b\" overlaps \"a\" at offset 64"},
      {"M23 same bytes", framed("{" + a + "," + entry("b", "F32", "[32]", "[0,128]") + "}", 128), "overlaps"},
      {"M23 inside", framed("{" + a + "," + entry("b", "F32", "[1]", "[4,8]") + "}", 128),
       "\"b\" overlaps \"a\" at offset 4"},
      {"M23 no tensors", framed("{}", 16), "bytes 0..15 not covered by any tensor"},
      {"M24 empty",
       framed("{" + entry("w", "F32", "[1]", "[0,4]") + "," + entry("empty", "F32", "[0]", "[0,0]") + "}", 4),
       "\"empty\" overlaps \"w\" at offset 0"},
      {"M24 empty at the end", framed("{" + a + "," + entry("empty", "F32", "[4,0]", "[128,128]") + "}", 128),
       "tensor \"empty\": a dimension is 0"},
  });
}

TEST(HostileSafetensors, M25Dtypes) {
  std::vector<BadFile> files = {
      {"M25 unknown", one("F3", "[1]", "[0,4]", 4), "unknown dtype \"F3\""},
      {"M25 lower case", one("f32", "[1]", "[0,4]", 4), "unknown dtype \"f32\""},
      {"M25 number", framed(R"({"w":{"dtype":4,"shape":[1],"data_offsets":[0,4]}})", 4), "bad dtype"}};
  for (const char* dtype : {"F4", "F6_E2M3", "F8_E4M3", "I64", "BOOL", "F64"}) {
    files.push_back({std::string("M25 ") + dtype, one(dtype, "[3]", "[0,2]", 2),
                     std::string("dtype ") + dtype + " is not supported; F32, F16, BF16 are"});
  }
  std::string many = "{";
  for (int i = 0; i < 70'000; ++i) many += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":0";
  files.push_back({"M25 70,000 tensors", framed(many + "}"), "tensor count 70000 exceeds limit 65536"});
  files.push_back({"M25 name of 1 MB", framed("{" + entry(std::string(1 << 20, 'n'), "F32", "[1]", "[0,4]") + "}", 4),
                   "of 1048576 bytes: 1..1024 bytes"});
  files.push_back({"M25 empty name", framed("{" + entry("", "F32", "[1]", "[0,4]") + "}", 4), "bad tensor name \"\""});
  files.push_back(
      {"M25 control", framed("{" + entry("a\\u0000b", "F32", "[1]", "[0,4]") + "}", 4), "bad tensor name \"a\\x00b\""});
  expect_all_refused(files);
}

std::string tiny_shard(const std::string& name) {
  SafetensorsWriter writer;
  writer.add(name, "F32", {1}, std::vector<float>{1.0f});
  return writer.build();
}

void expect_index_refused(const std::string& id, const std::string& index, const std::string& want) {
  TempDir outer;
  std::filesystem::create_directory(outer.file("m"));
  outer.write("outside.safetensors", tiny_shard("a"));
  outer.write("m/config.json", kConfig);
  outer.write("m/good.safetensors", tiny_shard("a"));
  outer.write("m/other.safetensors", tiny_shard("b"));
  std::filesystem::create_symlink(outer.file("outside.safetensors"), outer.file("m/link.safetensors"));
  outer.write("m/model.safetensors.index.json", index);
  expect_refused(outer.path() + "/m", id, want);
}

TEST(HostileSafetensors, M26Shards) {
  const std::string plain = "shard path must be a plain file name";
  for (std::string path : {"../outside.safetensors", "../../x", "/etc/passwd", "link.safetensors", "", ".", "..",
                           "a/b.safetensors", "..\\\\x", "x\\u0000.safetensors"}) {
    expect_index_refused("M26 " + path, R"({"weight_map":{"a":")" + path + R"("}})", plain);
  }
  expect_index_refused("M26 missing", R"({"weight_map":{"a":"none.safetensors"}})", "none.safetensors");
  expect_index_refused("M26 no map", R"({"metadata":{}})", "weight_map must be an object");
  expect_index_refused("M26 list", R"({"weight_map":[]})", "weight_map must be an object");
  expect_index_refused("M26 number", R"({"weight_map":{"a":1}})", "weight_map must map names to file names");
  expect_index_refused("M26 not there", R"({"weight_map":{"a":"good.safetensors","z":"good.safetensors"}})",
                       "tensor \"z\" is listed in good.safetensors but is not there");
  expect_index_refused("M26 not listed", R"({"weight_map":{"z":"good.safetensors"}})",
                       "tensor \"a\" of good.safetensors is not listed");
  expect_index_refused("M26 wrong shard",
                       R"({"weight_map":{"a":"good.safetensors","b":"good.safetensors","c":"other.safetensors"}})",
                       "tensor \"b\" of other.safetensors is not listed");
  expect_index_refused("M26 not JSON", "{", "model.safetensors.index.json is not valid JSON");
  expect_index_refused("M26 array", "[]", "model.safetensors.index.json must be a JSON object");
  expect_index_refused("M26 config as shard", R"({"weight_map":{"a":"config.json"}})", "header length");
}

void expect_config_refused(const std::string& id, const std::string& config, const std::string& want) {
  TempDir dir;
  dir.write("config.json", config);
  dir.write("model.safetensors", tiny_shard("a"));
  expect_refused(dir.path() + "/", id, want);
}

// kConfig with one member added in front or replaced.
std::string config_with(const std::string& key, const std::string& value) {
  Json config = parse_json(kConfig).value();
  config.set(key, parse_json("[" + value + "]").value().as_array()[0]);
  return config.dump();
}

TEST(HostileSafetensors, M27Configs) {
  expect_config_refused("M27 auto_map", config_with("auto_map", R"({"AutoModel":"x.Y"})"),
                        "custom code (\"auto_map\") is not supported");
  expect_config_refused("M27 20 MB", std::string(20 << 20, ' '), "exceed limit 16777216");
  expect_config_refused("M27 not JSON", "{", "config.json is not valid JSON");
  expect_config_refused("M27 array", "[]", "config.json must be a JSON object");
  expect_config_refused("M27 depth", std::string(100'000, '['), "config.json is not valid JSON");
  struct Row {
    const char* key;
    const char* value;
    const char* want;
  };
  constexpr Row kRows[] = {
      {"model_type", "\"foo\"", "unknown architecture \"foo\"; supported: "},
      {"model_type", "7", "model_type is an integer, want a string"},
      {"model_type", "\"gemma3\"", "text_config is missing"},
      {"num_hidden_layers", "0", "num_hidden_layers = 0: must be 1..1024"},
      {"num_hidden_layers", "4294967295", "num_hidden_layers = 4294967295: must be 1..1024"},
      {"num_hidden_layers", "\"2\"", "num_hidden_layers is a string, want an integer"},
      {"num_hidden_layers", "2.5", "num_hidden_layers is a number, want an integer"},
      {"num_hidden_layers", "null", "num_hidden_layers is missing"},
      {"hidden_size", "-1", "hidden_size = -1: must be 1..262144"},
      {"hidden_size", "257", "num_attention_heads = 4: must divide hidden_size = 257"},
      {"intermediate_size", "0", "intermediate_size = 0: must be 1..2097152"},
      {"num_attention_heads", "0", "num_attention_heads = 0: must be 1..1024"},
      {"num_key_value_heads", "5", "num_key_value_heads = 5: must be 1..4"},
      {"num_key_value_heads", "3", "num_key_value_heads = 3: must divide num_attention_heads = 4"},
      {"head_dim", "63", "head_dim = 63: must be even"},
      {"head_dim", "100000", "head_dim = 100000: must be 2..1024"},
      {"vocab_size", "0", "vocab_size = 0: must be 1..2000000"},
      {"max_position_embeddings", "0", "max_position_embeddings = 0: must be 1.."},
      {"rms_norm_eps", "-1e-6", "must be 0..0.1"},
      {"rope_theta", "0", "rope_theta = 0: must be 1.."},
      {"rope_theta", "1e300", "rope_theta = 1e+300: must be 1.."},
      {"rope_scaling", "[]", "rope_scaling is an array, want an object"},
      {"rope_scaling", R"({"type":"yarn"})", "rope_scaling.type = \"yarn\" is not supported"},
      {"rope_scaling", R"({"type":"linear"})", "rope_scaling.factor is missing"},
      {"rope_scaling", R"({"type":"linear","factor":0})", "rope_scaling.factor = 0: must be"},
      {"rope_scaling", R"({"rope_type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":4})",
       "rope_scaling.high_freq_factor = 4: must be above low_freq_factor = 4"},
      {"rope_parameters", R"({"partial_rotary_factor":0.11})", "partial_rotary_factor * head_dim = 7: must be even"},
      {"hidden_act", "\"relu\"", "hidden_act = \"relu\" is not supported; want \"silu\""},
      {"attention_bias", "true", "attention_bias = true is not supported"},
      {"tie_word_embeddings", "1", "tie_word_embeddings is an integer, want a boolean"},
      {"eos_token_id", "64", "eos_token_id = 64: must be -1..63"},
      {"eos_token_id", "[2,64]", "eos_token_id: every id must be 0..63"},
      {"bos_token_id", "-2", "bos_token_id = -2: must be -1..63"},
      {"quantization_config", "{}", "quantization_config is not supported"},
  };
  for (const Row& row : kRows) {
    expect_config_refused(std::string("M27 ") + row.key + " " + row.value, config_with(row.key, row.value), row.want);
  }
}

TEST(HostileSafetensors, M27OtherFiles) {
  TempDir dir;
  dir.write("config.json", kConfig);
  expect_refused(dir.path() + "/", "M27 no weights", "model.safetensors not found");
  dir.write("pytorch_model.bin", "\x80\x02}q\x01.");
  expect_refused(dir.path() + "/", "M27 .bin beside", "pickle weights are refused; convert to safetensors");
  expect_refused(dir.file("pytorch_model.bin"), "M27 .bin", "pickle weights are refused; convert to safetensors");
  dir.write("consolidated.00.pth", "PK");
  expect_refused(dir.file("consolidated.00.pth"), "M27 .pth", "pickle weights are refused");
  dir.write("model.safetensors", tiny_shard("a"));
  expect_refused(dir.file("model.safetensors"), "M27 single file", "give the folder");
  expect_refused(dir.path() + "/", "M16 missing", "tensors are missing: ");
  dir.write("generation_config.json", "[");
  expect_refused(dir.path() + "/", "M27 generation_config", "generation_config.json is not valid JSON");
  dir.write("generation_config.json", R"({"eos_token_id":"x"})");
  expect_refused(dir.path() + "/", "M27 generation_config type", "generation_config.eos_token_id is a string");
}

}  // namespace
}  // namespace millrace::testing
