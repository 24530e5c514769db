// Flags of vLLM and llama-server that Millrace knows and does not have: harmless ones are accepted with one warning,
// those that would change what is served are refused by name with the reason, short spellings are rewritten.
// Thread: any (constant data).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace millrace::app {

enum class ForeignValue : uint8_t {
  kNone,
  kOne,
  kMaybe,  // a following argument is the value when it is one of ForeignFlag::neutral
};

struct ForeignFlag {
  std::string_view names;  // separated by commas
  ForeignValue value = ForeignValue::kNone;
  std::string_view reason = {};   // why it is refused; empty: accepted with a warning
  std::string_view neutral = {};  // values separated by "|" that are accepted although others are refused
};

std::span<const ForeignFlag> foreign_flags();
// The row that has this name (with dashes), or null.
const ForeignFlag* find_foreign_flag(std::string_view name);
bool is_neutral(const ForeignFlag& flag, std::string_view value);

// Our name of a flag whose short spelling has several letters: "-np" is "--max-num-seqs"; others unchanged.
std::string_view our_name(std::string_view name);

}  // namespace millrace::app
