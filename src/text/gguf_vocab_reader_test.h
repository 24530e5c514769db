// The vocabulary keys of a GGUF file as a GgufVocab, for tests of this folder (the product's reader lies above it).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/byte_reader.h"
#include "base/file.h"
#include "base/macros.h"
#include "text/tokenizer_spec.h"

namespace millrace::text {

class GgufKeys {
 public:
  explicit GgufKeys(std::span<const uint8_t> bytes) : reader_(bytes) {
    read<uint32_t>();  // magic
    read<uint32_t>();  // version
    read<uint64_t>();  // tensors
    for (auto n = read<uint64_t>(); n > 0; --n) {
      const std::string key = string();
      read_value(key, read<uint32_t>());
    }
  }

  std::map<std::string, int64_t> integers;
  std::map<std::string, std::vector<double>> numbers;
  std::map<std::string, std::vector<std::string>> strings;

 private:
  static constexpr uint32_t kString = 8;
  static constexpr uint32_t kArray = 9;

  template <class T>
  T read() {
    const auto value = reader_.read<T>();
    CHECK(value.has_value(), "GGUF file cut short at byte {}", reader_.offset());
    return *value;
  }
  std::string string() {
    const auto bytes = reader_.take(read<uint64_t>());
    CHECK(bytes.has_value(), "GGUF string at byte {}", reader_.offset());
    return std::string(as_text(*bytes));
  }
  double number(uint32_t type) {
    switch (type) {
      case 0:
        return read<uint8_t>();
      case 1:
        return read<int8_t>();
      case 2:
        return read<uint16_t>();
      case 3:
        return read<int16_t>();
      case 4:
        return read<uint32_t>();
      case 5:
        return read<int32_t>();
      case 6:
        return static_cast<double>(read<float>());
      case 7:
        return read<uint8_t>();
      case 10:
        return static_cast<double>(read<uint64_t>());
      case 11:
        return static_cast<double>(read<int64_t>());
      default:
        return read<double>();
    }
  }
  void read_value(const std::string& key, uint32_t type) {
    if (type == kString) {
      strings[key].push_back(string());
    } else if (type == kArray) {
      const auto inner = read<uint32_t>();
      for (auto n = read<uint64_t>(); n > 0; --n) {
        if (inner == kString) {
          strings[key].push_back(string());
        } else {
          numbers[key].push_back(number(inner));
        }
      }
    } else {
      integers[key] = static_cast<int64_t>(number(type));
    }
  }

  ByteReader reader_;
};

inline GgufVocab read_gguf_vocab(const std::string& path) {
  const auto file = MappedFile::open(path);
  CHECK(file.ok(), "{}: {} (the setup step fetches the test models)", path, file.error().message);
  GgufKeys keys(file->bytes());
  const std::string prefix = "tokenizer.ggml.";
  const auto integer = [&](const char* name, int64_t fallback) {
    const auto found = keys.integers.find(prefix + name);
    return found == keys.integers.end() ? fallback : found->second;
  };
  const auto text = [&](const char* name) {
    const auto& found = keys.strings[prefix + name];
    return found.empty() ? std::string() : found[0];
  };
  GgufVocab out;
  out.model = text("model");
  out.pre = text("pre");
  out.tokens = keys.strings[prefix + "tokens"];
  out.merges = keys.strings[prefix + "merges"];
  for (const double score : keys.numbers[prefix + "scores"]) out.scores.push_back(static_cast<float>(score));
  for (const double type : keys.numbers[prefix + "token_type"]) out.types.push_back(static_cast<int32_t>(type));
  out.bos = integer("bos_token_id", kNoToken);
  out.eos = integer("eos_token_id", kNoToken);
  out.eot = integer("eot_token_id", kNoToken);
  out.pad = integer("padding_token_id", kNoToken);
  out.unk = integer("unknown_token_id", kNoToken);
  out.add_bos = static_cast<int>(integer("add_bos_token", -1));
  out.add_eos = static_cast<int>(integer("add_eos_token", -1));
  out.add_space_prefix = static_cast<int>(integer("add_space_prefix", -1));
  return out;
}

}  // namespace millrace::text
