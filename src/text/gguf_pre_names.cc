// The table of pre-tokenizer families. To add a name: one row of kNames; a new family: one Family constant more.
#include "text/gguf_pre_names.h"

#include <algorithm>
#include <array>
#include <string>

namespace millrace::text {
namespace {

constexpr std::string_view kLlama3 = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
                                     R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
                                    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen35 = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N})"
                                     R"(| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
                                     R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
                                     R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kSeedCoder = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1})"
                                        R"(| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kBailing = R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N})"
                                      R"(| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kBloom = R"( ?[^(\s|.,!?\x{2026}\x{3002}\x{ff0c}\x{3001}\x{964}\x{6d4}\x{60c})]+)";
constexpr std::string_view kNewline = R"([\r\n])";
constexpr std::string_view kDeepseekLetters =
    R"(\s?[A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293})"
    R"(\x{295}-\x{2af}\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a}\x{38c})"
    R"(\x{38e}-\x{3a1}\x{3a3}-\x{3f5}\x{3f7}-\x{481}\x{48a}-\x{52f}\x{531}-\x{556}\x{10a0}-\x{10c5})"
    R"(\x{13a0}-\x{13f5}\x{13f8}-\x{13fd}\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b})"
    R"(\x{1d6b}-\x{1d77}\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d}\x{1f20}-\x{1f45})"
    R"(\x{1f48}-\x{1f4d}\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-\x{1f7d}\x{1f80}-\x{1fb4})"
    R"(\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4}\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb})"
    R"(\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4}\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115})"
    R"(\x{2119}-\x{211d}\x{2124}\x{2126}\x{2128}\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f})"
    R"(\x{2145}-\x{2149}\x{214e}\x{2183}\x{2184}\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4}\x{2ceb}-\x{2cee}\x{2cf2})"
    R"(\x{2cf3}\x{a640}-\x{a66d}\x{a680}-\x{a69b}\x{a722}-\x{a76f}\x{a771}-\x{a787}\x{a78b}-\x{a78e})"
    R"(\x{ab70}-\x{abbf}\x{fb00}-\x{fb06}\x{fb13}-\x{fb17}\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a})"
    R"(\x{10400}-\x{1044f}\x{104b0}-\x{104d3}\x{104d8}-\x{104fb}\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2})"
    R"(\x{118a0}-\x{118df}\x{1e900}-\x{1e943}]+)";
constexpr std::string_view kDeepseekMarks =
    R"(\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)";
constexpr std::string_view kSpacesAtEnd = R"(\s+$)";
constexpr std::string_view kDeepseekCjk = R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)";
constexpr std::string_view kNumbers = R"(\p{N}+)";
constexpr std::string_view kOneNumber = R"(\p{N})";
constexpr std::string_view kThreeNumbers = R"(\p{N}{1,3})";
constexpr std::string_view kDeepseek3Cjk = R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)";
constexpr std::string_view kDeepseek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
    R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kSpaceLetters = R"(\s?\p{L}+)";
constexpr std::string_view kSpaceMarks = R"(\s?\p{P}+)";

enum class Family : uint8_t {
  kGpt2,
  kDigitsGpt2,
  kFalcon,
  kLlama3,
  kQwen2,
  kQwen35,
  kTekken,
  kGpt4o,
  kSeedCoder,
  kBailing,
  kBloom,
  kViking,
  kDeepseekLlm,
  kDeepseekCoder,
  kDeepseek3
};

struct NameRow {
  std::string_view name;
  Family family;
  bool ignore_merges = false;
  bool add_bos = false;
  bool nfc = false;
};

constexpr std::array kNames = std::to_array<NameRow>({
    {"gpt-2", Family::kGpt2},
    {"default", Family::kGpt2},
    {"phi-2", Family::kGpt2},
    {"mpt", Family::kGpt2, false, false, true},
    {"olmo", Family::kGpt2, false, false, true},
    {"jais", Family::kGpt2},
    {"trillion", Family::kGpt2},
    {"granite-docling", Family::kGpt2},
    {"gigachat", Family::kGpt2},
    {"a.x-4.0", Family::kGpt2},
    {"mellum", Family::kGpt2},
    {"modern-bert", Family::kGpt2},
    {"exaone4", Family::kGpt2},
    {"smollm", Family::kDigitsGpt2},
    {"starcoder", Family::kDigitsGpt2},
    {"refact", Family::kDigitsGpt2},
    {"command-r", Family::kDigitsGpt2},
    {"codeshell", Family::kDigitsGpt2},
    {"exaone", Family::kDigitsGpt2},
    {"minerva-7b", Family::kDigitsGpt2},
    {"mellum2", Family::kDigitsGpt2},
    {"falcon", Family::kFalcon},
    {"llama-bpe", Family::kLlama3, true, true},
    {"llama3", Family::kLlama3, true, true},
    {"llama-v3", Family::kLlama3, true, true},
    {"falcon3", Family::kLlama3, true, true},
    {"falcon-h1", Family::kLlama3, true, true},
    {"pixtral", Family::kLlama3, true, true},
    {"midm-2.0", Family::kLlama3, true, true},
    {"lfm2", Family::kLlama3, true, true},
    {"dbrx", Family::kLlama3},
    {"smaug-bpe", Family::kLlama3},
    {"chatglm-bpe", Family::kLlama3},
    {"glm4", Family::kLlama3},
    {"qwen2", Family::kQwen2, false, false, true},
    {"deepseek-r1-qwen", Family::kQwen2, false, false, true},
    {"stablelm2", Family::kQwen2},
    {"hunyuan", Family::kQwen2},
    {"solar-open", Family::kQwen2},
    {"megrez", Family::kQwen2},
    {"grok-2", Family::kQwen2},
    {"kormo", Family::kQwen2},
    {"qwen35", Family::kQwen35, false, false, true},
    {"tekken", Family::kTekken, true, true},
    {"gpt-4o", Family::kGpt4o},
    {"llama4", Family::kGpt4o},
    {"kanana2", Family::kGpt4o},
    {"minimax-m2", Family::kGpt4o},
    {"seed-coder", Family::kSeedCoder},
    {"bailingmoe", Family::kBailing},
    {"bailingmoe2", Family::kBailing},
    {"llada-moe", Family::kBailing},
    {"bloom", Family::kBloom},
    {"poro-chat", Family::kBloom},
    {"gpt3-finnish", Family::kBloom},
    {"viking", Family::kViking},
    {"deepseek-llm", Family::kDeepseekLlm},
    {"deepseek-coder", Family::kDeepseekCoder},
    {"deepseek-v3", Family::kDeepseek3},
    {"hunyuan-dense", Family::kDeepseek3},
    {"joyai-llm", Family::kDeepseek3},
});

PreTokenizerStep step_of(PreTokenizerKind kind) {
  PreTokenizerStep step;
  step.kind = kind;
  return step;
}

PreTokenizerStep split(std::string_view pattern) {
  PreTokenizerStep step = step_of(PreTokenizerKind::kSplit);
  step.pattern = pattern;
  step.is_regex = true;
  return step;
}

PreTokenizerStep byte_level(bool use_regex) {
  PreTokenizerStep step = step_of(PreTokenizerKind::kByteLevel);
  step.use_regex = use_regex;
  return step;
}

PreTokenizerStep digits(bool individual) {
  PreTokenizerStep step = step_of(PreTokenizerKind::kDigits);
  step.individual_digits = individual;
  return step;
}

// Splits one after the other, then bytes.
std::vector<PreTokenizerStep> splits(std::initializer_list<std::string_view> patterns) {
  std::vector<PreTokenizerStep> out;
  for (const std::string_view pattern : patterns) out.push_back(split(pattern));
  out.push_back(byte_level(false));
  return out;
}

std::vector<PreTokenizerStep> steps_of(Family family) {
  switch (family) {
    case Family::kGpt2:
      return {byte_level(true)};
    case Family::kDigitsGpt2:
      return {digits(true), byte_level(true)};
    case Family::kFalcon: {
      PreTokenizerStep punctuation = step_of(PreTokenizerKind::kPunctuation);
      punctuation.behavior = SplitBehavior::kContiguous;
      return {punctuation, byte_level(true), digits(false), split("[0-9][0-9][0-9]")};
    }
    case Family::kLlama3:
      return splits({kLlama3});
    case Family::kQwen2:
      return splits({kQwen2});
    case Family::kQwen35:
      return splits({kQwen35});
    case Family::kTekken:
      return splits({kTekken});
    case Family::kGpt4o:
      return splits({kGpt4o});
    case Family::kSeedCoder:
      return splits({kSeedCoder});
    case Family::kBailing:
      return splits({kBailing});
    case Family::kBloom:
      return splits({kBloom});
    case Family::kViking:
      return splits({kBloom, kOneNumber});
    case Family::kDeepseekLlm:
      return splits({kNewline, kDeepseekLetters, kDeepseekMarks, kSpacesAtEnd, kDeepseekCjk, kNumbers});
    case Family::kDeepseekCoder:
      return splits({kNewline, kSpaceLetters, kSpaceMarks, kDeepseekCjk, kOneNumber});
    case Family::kDeepseek3:
      return splits({kThreeNumbers, kDeepseek3Cjk, kDeepseek3});
  }
  return {};
}

}  // namespace

std::optional<GgufPre> find_gguf_pre(std::string_view name) {
  if (name.empty()) name = "gpt-2";
  const auto row = std::find_if(kNames.begin(), kNames.end(), [&](const NameRow& entry) { return entry.name == name; });
  if (row == kNames.end()) return std::nullopt;
  GgufPre out;
  if (row->nfc) out.normalizers.emplace_back();  // kNfc
  out.pre_tokenizers = steps_of(row->family);
  out.ignore_merges = row->ignore_merges;
  out.add_bos = row->add_bos;
  return out;
}

std::vector<std::string_view> known_gguf_pre_names() {
  std::vector<std::string_view> out;
  for (const NameRow& row : kNames) out.push_back(row.name);
  return out;
}

}  // namespace millrace::text
