// How far text may be fixed: what the core goes through when it is asked what must come next, at any place of any text
// of a grammar. It follows fixed text to its end, so a grammar of 40 rules that each say the one before twice would
// keep it busy for hours; such constraints get no proposals. Thread: any.
#pragma once

#include <cstdint>

#include "grammar/rules.h"

namespace millrace::grammar {

// Bytes of fixed text up to which a matcher proposes: the core takes some 10 ms for them, once per place.
constexpr uint64_t kMostForcedBytes = 32 << 10;

// Whether no text that is fixed is longer than kMostForcedBytes, anywhere.
bool forced_text_is_short(const Rules& rules);

}  // namespace millrace::grammar
