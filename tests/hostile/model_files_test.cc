// Rows M01..M18 and M28: GGUF files that must be refused, each generated here with the text of its refusal.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "base/philox.h"
#include "tests/hostile/refusal.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace millrace::testing {
namespace {

using Bytes = std::vector<uint8_t>;
using tensor::Format;

struct BadFile {
  std::string id;
  Bytes bytes;
  std::string want;
};

void expect_all_refused(const std::vector<BadFile>& files) {
  TempDir dir;
  for (const BadFile& file : files) expect_refused(dir.write("bad.gguf", file.bytes), file.id, file.want);
}

template <class T>
Bytes patched(Bytes bytes, size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof(value));
  return bytes;
}

TinyModel small() {
  TinyModel tiny;
  tiny.n_layers = 1;
  tiny.d_ff = 256;
  tiny.n_vocab = 64;
  return tiny;
}

// The small model with the value of one key overwritten in place.
template <class T>
Bytes with_value(const std::string& key, T value) {
  Bytes bytes = tiny_gguf(small());
  auto file = weights::GgufFile::parse(bytes).value();
  return patched(bytes, file.find(key)->offset, value);
}

// The small model with keys added behind its own.
Bytes with_keys(const std::function<void(GgufWriter&)>& add) {
  GgufWriter writer;
  add_tiny_keys(writer, small());
  add(writer);
  add_tiny_tensors(writer, small());
  return writer.build();
}

Bytes built(const std::function<void(GgufWriter&)>& fill) {
  GgufWriter writer;
  fill(writer);
  return writer.build();
}

// One tensor head over 4 KiB of data.
Bytes one_tensor(uint32_t type, std::vector<uint64_t> ne, uint64_t offset, const std::string& name = "w") {
  return built([&](GgufWriter& writer) {
    writer.add_tensor_raw("first", 0, std::array<uint64_t, 1>{8}, Bytes(32));
    writer.add_tensor_head(name, type, ne, offset);
    writer.add_tensor_raw("last", 0, std::array<uint64_t, 1>{1000}, Bytes(4000));
  });
}

TEST(HostileGguf, M01NotAFile) {
  expect_all_refused({{"M01 empty", {}, "not a model file: 0 bytes, need at least 24"},
                      {"M01 three bytes", {'G', 'G', 'U'}, "not a model file: 3 bytes, need at least 24"},
                      {"M01 23 bytes", Bytes(23), "not a model file: 23 bytes, need at least 24"}});
  TempDir dir;
  ASSERT_EQ(::mkfifo(dir.file("pipe.gguf").c_str(), 0600), 0);
  expect_refused(dir.file("pipe.gguf"), "M01 FIFO", "not a regular file");
  expect_refused("/dev/null", "M01 device", "not a regular file");
  expect_refused(dir.path() + "/none.gguf", "M01 missing", "none.gguf");
  expect_refused(dir.path(), "M01 folder", "config.json not found");
}

TEST(HostileGguf, M02M03MagicAndVersion) {
  Bytes valid = tiny_gguf(small());
  auto magic = [&](const std::string& text) {
    Bytes bytes = valid;
    std::memcpy(bytes.data(), text.data(), 4);
    return bytes;
  };
  expect_all_refused({
      {"M02 GGML", magic("GGML"), "unknown magic 47 47 4d 4c; expected \"GGUF\" or safetensors"},
      {"M02 zip", magic("PK\x03\x04"), "unknown magic 50 4b 03 04; expected \"GGUF\" or safetensors"},
      {"M02 pickle", magic("\x80\x02}q"), "unknown magic 80 02 7d 71"},
      {"M02 ELF",
       magic("\x7f"
             "ELF"),
       "unknown magic 7f 45 4c 46"},
      {"M03 0", patched<uint32_t>(valid, 4, 0), "unsupported GGUF version 0; supported 2, 3"},
      {"M03 1", patched<uint32_t>(valid, 4, 1), "unsupported GGUF version 1; supported 2, 3"},
      {"M03 4", patched<uint32_t>(valid, 4, 4), "unsupported GGUF version 4; supported 2, 3"},
      {"M03 big-endian", patched<uint32_t>(valid, 4, 0x03000000),
       "unsupported GGUF version 50331648 (big-endian file?); supported 2, 3"},
  });
}

TEST(HostileGguf, M04Counts) {
  Bytes valid = tiny_gguf(small());
  std::vector<BadFile> files;
  for (uint64_t count : {~uint64_t{0}, uint64_t{1} << 61, uint64_t{1} << 63, uint64_t{65537}}) {
    std::string text = std::to_string(count) + " exceeds limit 65536";
    files.push_back({"M04 tensors", patched(valid, 8, count), "tensor count " + text});
    files.push_back({"M04 keys", patched(valid, 16, count), "key count " + text});
  }
  files.push_back({"M04 more tensors than bytes", patched<uint64_t>(valid, 8, 65536), "bad.gguf"});
  files.push_back({"M04 more keys than bytes", patched<uint64_t>(valid, 16, 65536), "bad.gguf"});
  expect_all_refused(files);
}

TEST(HostileGguf, M05Strings) {
  std::vector<BadFile> files;
  Bytes bytes = built([](GgufWriter& writer) { writer.add("key", std::string(900, 'x')); });
  size_t key_at = 24;
  size_t value_at = 24 + 8 + 3 + 4;
  for (uint64_t length : {uint64_t{1} << 63, ~uint64_t{0}, uint64_t{1} << 30, uint64_t{bytes.size()}}) {
    std::string text = "string length " + std::to_string(length) + " exceeds the ";
    files.push_back(
        {"M05 key", patched(bytes, key_at, length), text + std::to_string(bytes.size() - 32) + " bytes left"});
    files.push_back({"M05 value", patched(bytes, value_at, length), text});
  }
  expect_all_refused(files);
}

Bytes with_array(uint32_t element, uint64_t count, const Bytes& body) {
  Bytes raw;
  GgufWriter::put(raw, element);
  GgufWriter::put(raw, count);
  GgufWriter::put_bytes(raw, body);
  return built([&](GgufWriter& writer) { writer.add_raw("list", 9, raw); });
}

TEST(HostileGguf, M06Arrays) {
  std::vector<BadFile> files;
  files.push_back({"M06 bytes", with_array(0, uint64_t{1} << 40, Bytes(400)), "array needs >= 1099511627776 bytes"});
  files.push_back(
      {"M06 wraps", with_array(10, uint64_t{1} << 61, Bytes(400)), "array needs >= 18446744073709551615 bytes"});
  files.push_back({"M06 strings", with_array(8, 1000, Bytes(400)), "array needs >= 8000 bytes"});
  files.push_back({"M06 strings that wrap", with_array(8, (uint64_t{1} << 61) + 1, Bytes(400)), "array needs >= "});
  files.push_back({"M06 nested", with_array(9, 1, Bytes(400)), "nested array not allowed"});
  files.push_back({"M06 element type", with_array(99, 1, Bytes(400)), "unknown value type 99"});
  Bytes long_string(400);
  long_string[0] = 0xFF;
  long_string[1] = 0xFF;
  files.push_back({"M06 inner string", with_array(8, 2, long_string), "string length 65535 exceeds the "});
  files.push_back({"M06 value type", built([](GgufWriter& writer) { writer.add_raw("k", 13, Bytes(64)); }),
                   "k: unknown value type 13"});
  expect_all_refused(files);
}

TEST(HostileGguf, M07Dimensions) {
  uint64_t wide = (uint64_t{1} << 42) + 1;
  std::vector<BadFile> files = {
      {"M07 wraps", one_tensor(0, {wide, wide}, 32, "token_embd.weight"),
       "tensor \"token_embd.weight\": element count overflows"},
      {"M07 negative", one_tensor(0, {~uint64_t{0}, 1}, 32), "tensor \"w\": element count overflows"},
      {"M07 2^63", one_tensor(0, {uint64_t{1} << 63}, 32), "element count overflows"},
      {"M07 zero", one_tensor(0, {8, 0}, 32), "dimension 1 is 0"},
      {"M07 five", one_tensor(0, {1, 1, 1, 1, 1}, 32), "n_dims = 5: must be 1..4"},
      {"M07 none", one_tensor(0, {}, 32), "n_dims = 0: must be 1..4"},
  };
  Bytes many = built([](GgufWriter& writer) {
    writer.add_tensor_head("w", 0, std::array<uint64_t, 1>{8}, 0);
    writer.add_tensor_raw("x", 0, std::array<uint64_t, 1>{8}, Bytes(32));
  });
  files.push_back({"M07 2^31", patched<uint32_t>(many, 24 + 8 + 1, 0x80000000u), "n_dims = 2147483648: must be 1..4"});
  expect_all_refused(files);
}

TEST(HostileGguf, M08M09M11Extents) {
  uint64_t far = uint64_t{5383208929597152} / 32 * 32;
  expect_all_refused({
      {"M08 offset past the end", one_tensor(0, {8}, far), "tensor \"w\" ends at 53832"},
      {"M08 last byte missing", one_tensor(0, {1'000'000}, 32), "but file has "},
      {"M08 overlap", one_tensor(0, {8}, 0), "tensor \"w\" overlaps \"first\""},
      {"M08 overlap of the next", one_tensor(0, {40}, 0), " overlaps "},
      {"M08 inside another", one_tensor(0, {8}, 64), "overlaps"},
      {"M09 unaligned", one_tensor(0, {8}, 33), "offset 33 not a multiple of alignment 32"},
      {"M11 offset near 2^64", one_tensor(0, {8}, ~uint64_t{0} - 31), "padded size overflows"},
      {"M11 offset wraps into the header", one_tensor(0, {8}, ~uint64_t{0} - 4095), "ends at 18446744073709547712 but"},
      {"M11 size near 2^64", one_tensor(0, {(uint64_t{1} << 62) - 1, 1}, 32), "padded size overflows"},
      {"M11 bytes wrap", one_tensor(0, {uint64_t{1} << 62}, 32), "padded size overflows"},
  });
}

TEST(HostileGguf, M10Alignment) {
  std::vector<BadFile> files;
  for (uint32_t value : {0u, 1u, 3u, 4u, 33u, 131072u, 0x80000000u, ~0u}) {
    files.push_back({"M10 value", with_keys([&](GgufWriter& writer) { writer.add_u32("general.alignment", value); }),
                     "general.alignment = " + std::to_string(value) + ": power of two in 8..65536 required"});
  }
  files.push_back({"M10 INT32", with_keys([](GgufWriter& writer) { writer.add_i32("general.alignment", 32); }),
                   "general.alignment = INT32 value"});
  files.push_back({"M10 STRING", with_keys([](GgufWriter& writer) { writer.add("general.alignment", "32"); }),
                   "power of two in 8..65536 required"});
  expect_all_refused(files);
}

TEST(HostileGguf, M12Types) {
  expect_all_refused({
      {"M12 row length", one_tensor(12, {100, 2}, 32), "Q4_K needs a multiple of 256, got 100"},
      {"M12 row length", one_tensor(2, {31}, 32), "Q4_0 needs a multiple of 32, got 31"},
      {"M12 product is a multiple, row is not", one_tensor(8, {16, 2}, 32), "Q8_0 needs a multiple of 32, got 16"},
      {"M12 unknown", one_tensor(999, {32}, 32), "unknown tensor type 999"},
      {"M12 removed", one_tensor(4, {32}, 32), "unknown tensor type 4"},
      {"M12 negative", one_tensor(~0u, {32}, 32), "unknown tensor type 4294967295"},
      {"M12 not read", one_tensor(16, {256}, 32), "tensor type IQ2_XXS is not supported"},
      {"M12 integers", one_tensor(26, {32}, 32), "tensor type I32 is not supported"},
  });
}

TEST(HostileGguf, M13Names) {
  auto named = [](const std::string& name) { return one_tensor(0, {8}, 32, name); };
  auto keyed = [](const std::string& key) { return built([&](GgufWriter& writer) { writer.add_u32(key, 1); }); };
  expect_all_refused({
      {"M13 twice", named("first"), "duplicate tensor name \"first\""},
      {"M13 key twice", with_keys([](GgufWriter& writer) { writer.add_u32("llama.block_count", 1); }),
       "duplicate key \"llama.block_count\""},
      {"M13 64 bytes", named(std::string(64, 'n')), "bad tensor name \"nnnn"},
      {"M13 empty", named(""), "bad tensor name \"\""},
      {"M13 NUL", named(std::string("a\0b", 3)), "bad tensor name \"a\\x00b\""},
      {"M13 newline", named("a\nb"), "bad tensor name \"a\\x0ab\""},
      {"M13 UTF-8", named("\xC3("), "bad tensor name \"\\xc3(\""},
      {"M13 overlong", named("\xC0\x80"), "bad tensor name \"\\xc0\\x80\""},
      {"M13 empty key", keyed(""), "bad key \"\""},
      {"M13 key NUL", keyed(std::string("k\0", 2)), "bad key \"k\\x00\""},
      {"M13 key newline", keyed("k\n"), "bad key \"k\\x0a\""},
      {"M13 key UTF-8", keyed("\xFF"), "bad key \"\\xff\""},
      {"M13 key of 70,000 bytes", keyed(std::string(70'000, 'k')), "bad key \"kkkk"},
  });
}

TEST(HostileGguf, M14Architecture) {
  expect_all_refused({
      {"M14 missing", built([](GgufWriter& writer) { writer.add_u32("x", 1); }),
       "unknown architecture \"\"; supported: "},
      {"M14 unknown", built([](GgufWriter& writer) { writer.add("general.architecture", "foo"); }),
       "unknown architecture \"foo\"; supported: llama, mistral, qwen2, qwen3, gemma3"},
      {"M14 case", built([](GgufWriter& writer) { writer.add("general.architecture", "LLAMA"); }),
       "unknown architecture"},
      {"M14 integer", built([](GgufWriter& writer) { writer.add_u32("general.architecture", 1); }),
       "general.architecture has type UINT32, want STRING"},
      {"M14 terminal codes", built([](GgufWriter& writer) { writer.add("general.architecture", "\x1b[2J"); }),
       "unknown architecture \"\\x1b[2J\""},
  });
}

TEST(HostileGguf, M15Integers) {
  std::vector<BadFile> files;
  struct Row {
    const char* key;
    uint32_t value;
    const char* range;
  };
  constexpr Row kRows[] = {
      {"block_count", 0, "1..1024"},
      {"block_count", ~0u, "1..1024"},
      {"context_length", 0, "1..134217728"},
      {"context_length", ~0u, "1..134217728"},
      {"embedding_length", 0, "1..262144"},
      {"embedding_length", ~0u, "1..262144"},
      {"feed_forward_length", 0, "1..2097152"},
      {"feed_forward_length", 1u << 31, "1..2097152"},
      {"attention.head_count", 0, "1..1024"},
      {"attention.head_count", 1025, "1..1024"},
      {"attention.head_count_kv", 0, "1..4"},
      {"attention.head_count_kv", 5, "1..4"},
      {"attention.key_length", 0, "2..1024"},
      {"attention.key_length", 4096, "2..1024"},
      {"attention.value_length", 32, "64..64"},
  };
  for (const Row& row : kRows) {
    std::string key = std::string("llama.") + row.key;
    files.push_back(
        {"M15 " + key, with_value(key, row.value), key + " = " + std::to_string(row.value) + ": must be " + row.range});
  }
  files.push_back({"M15 does not divide", with_value<uint32_t>("llama.attention.head_count_kv", 3),
                   "llama.attention.head_count_kv = 3: must divide llama.attention.head_count = 4"});
  Bytes odd = with_value<uint32_t>("llama.attention.key_length", 63);
  odd = patched<uint32_t>(odd, weights::GgufFile::parse(odd).value().find("llama.attention.value_length")->offset, 63);
  files.push_back({"M15 odd head", odd, "llama.attention.key_length = 63: must be even"});
  files.push_back({"M15 bos", with_value<uint32_t>("tokenizer.ggml.bos_token_id", 64),
                   "tokenizer.ggml.bos_token_id = 64: must be 0..63"});
  files.push_back({"M15 eos", with_value<uint32_t>("tokenizer.ggml.eos_token_id", ~0u), "must be 0..63"});
  expect_all_refused(files);
}

TEST(HostileGguf, M15Floats) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  std::vector<BadFile> files;
  for (float base : {kNan, kInf, -kInf, 0.0f, -10000.0f, 0.5f}) {
    files.push_back({"M15 rope base", with_value("llama.rope.freq_base", base), "llama.rope.freq_base = "});
  }
  for (float eps : {kNan, kInf, -1e-6f, 1.0f}) {
    files.push_back({"M15 eps", with_value("llama.attention.layer_norm_rms_epsilon", eps), "must be 0..0.1"});
  }
  expect_all_refused(files);
}

TEST(HostileGguf, M15AddedKeys) {
  auto u32 = [](const char* key, uint32_t value) {
    return with_keys([&](GgufWriter& writer) { writer.add_u32(key, value); });
  };
  auto f32 = [](const char* key, float value) {
    return with_keys([&](GgufWriter& writer) { writer.add_f32(key, value); });
  };
  auto text = [](const char* key, const char* value) {
    return with_keys([&](GgufWriter& writer) { writer.add(key, value); });
  };
  auto linear = [](float factor) {
    return with_keys([&](GgufWriter& writer) {
      writer.add("llama.rope.scaling.type", "linear");
      writer.add_f32("llama.rope.scaling.factor", factor);
    });
  };
  std::vector<std::string> tokens(65, "t");
  Bytes too_many = with_keys([&](GgufWriter& writer) { writer.add_strings("tokenizer.ggml.tokens", tokens); });
  expect_all_refused({
      {"M15 rope dims odd", u32("llama.rope.dimension_count", 31),
       "llama.rope.dimension_count = 31: must be even and 2..64"},
      {"M15 rope dims wide", u32("llama.rope.dimension_count", 128), "must be even and 2..64"},
      {"M15 rope dims zero", u32("llama.rope.dimension_count", 0), "must be 2..1024"},
      {"M15 experts", u32("llama.expert_count", 8), "llama.expert_count = 8: must be 0..0"},
      {"M15 softcap", f32("llama.final_logit_softcapping", -1.0f), "llama.final_logit_softcapping = -1: must be 0.."},
      {"M15 yarn", text("llama.rope.scaling.type", "yarn"), "llama.rope.scaling.type = \"yarn\" is not supported"},
      {"M15 factor 0", linear(0.0f), "llama.rope.scaling.factor = 0: must be"},
      {"M15 factor NaN", linear(std::numeric_limits<float>::quiet_NaN()), "llama.rope.scaling.factor = nan: must be"},
      {"M15 vocab", u32("llama.vocab_size", 0), "llama.vocab_size = 0: must be 1..2000000"},
      {"M15 window", u32("llama.attention.sliding_window", ~0u), "llama.attention.sliding_window = 4294967295"},
      {"M15 window type", text("llama.attention.sliding_window", "x"), "has type STRING, want an integer"},
      {"M15 tokens", too_many, "tokenizer.ggml.tokens has 65 entries, the embedding 64 rows"},
      {"M15 token type", u32("tokenizer.ggml.tokens", 1), "want ARRAY of STRING"},
      {"M15 add_bos type", u32("tokenizer.ggml.add_bos_token", 1),
       "tokenizer.ggml.add_bos_token has type UINT32, want BOOL"},
  });
}

TEST(HostileGguf, M15MissingKeys) {
  std::vector<BadFile> files;
  for (const char* tail : {"block_count", "context_length", "embedding_length", "feed_forward_length",
                           "attention.head_count", "attention.layer_norm_rms_epsilon"}) {
    std::string key = std::string("llama.") + tail;
    Bytes bytes = tiny_gguf(small());
    auto file = weights::GgufFile::parse(bytes).value();
    size_t at = static_cast<size_t>(as_bytes(file.find(key)->key).data() - bytes.data());
    files.push_back({"M15 no " + key, patched(bytes, at, 'x'), key + " is missing"});
  }
  expect_all_refused(files);
}

}  // namespace
}  // namespace millrace::testing
