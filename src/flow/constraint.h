// What an answer must look like: the source text as a client sent it (ConstraintSpec), and the two faces of its
// compiled form that the step loop sees: Constraint, shared by all requests with the same text, and TokenMatcher, one
// per sequence. Implemented by src/grammar and by tests.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"

namespace millrace::flow {

enum class ConstraintKind : uint8_t {
  kNone,
  kJsonObject,  // any JSON object; text is empty
  kJsonSchema,  // text: a JSON schema
  kRegex,       // text: a regular expression, the whole answer matches it
  kGrammar,     // text: EBNF or GBNF with a rule `root`
  kChoice,      // text: a JSON array of strings, the answer is one of them
  kCalls,       // text: JSON of what src/grammar/calls.h describes, made by src/api
  kTags,        // text: JSON of a structural tag: free text in which some tags begin constrained parts
};

enum class TriggerKind : uint8_t {
  kToken,
  kWord,
  kPattern,       // text: a regular expression, which matches anywhere unless it is anchored
  kWholePattern,  // text: one that matches all of the answer so far
};

// What ends the free text before a lazy constraint. The constraint begins with the token, the word, or the first group
// of the expression that matched some text (its match, where none did); expressions are looked for behind each token.
struct Trigger {
  TriggerKind kind = TriggerKind::kWord;
  std::string text;
  TokenId token = kNoToken;  // kToken
  bool operator==(const Trigger&) const = default;
};

struct ConstraintSpec {
  ConstraintKind kind = ConstraintKind::kNone;
  std::string text;
  std::string param;           // the field it came from: paths of messages begin with it
  bool any_whitespace = true;  // JSON: white space between the parts of a document is allowed
  std::string whitespace;      // JSON: regular expression of that white space; empty: the compiler's own choice
  std::string after;           // the constraint begins behind this text (the end of a reasoning block); empty: at once
  // Text is free, and may end, until one of these comes, with which the constraint begins; empty: it begins at once.
  std::vector<Trigger> triggers = {};
};

// The state of one sequence inside its constraint. Thread: one at a time.
class TokenMatcher {
 public:
  virtual ~TokenMatcher() = default;
  // The next token of the output. False when it is not allowed: the state is as before.
  virtual bool accept(TokenId token) = 0;
  // Takes back the last n accepted tokens; n is at most what was accepted.
  virtual void rollback(uint32_t n) = 0;
  // mask: [ceil(n_vocab / 32)], bit t % 32 of word t / 32 is set when token t may come next; ids past the vocabulary
  // are not allowed.
  virtual void fill(std::span<uint32_t> mask) = 0;
  // A guess at the next tokens: those in which the tokenizer writes the text that must come next. At most out.size();
  // returns how many. The state is as before. None by default.
  virtual size_t draft(std::span<TokenId> out) {
    (void)out;
    return 0;
  }
  // Whether the answer can end within so many more tokens, its end token being one of them. False where no such end is
  // known; true where ends are not known at all.
  virtual bool ends_within(uint32_t n_tokens) {
    (void)n_tokens;
    return true;
  }
  // ends_within(n) holds behind every text that is allowed, for each n above this.
  virtual uint32_t farthest_end() const { return UINT32_MAX; }
  // Where ends_within(n_tokens) holds, clears what does not begin the end that is known: behind each token that is left
  // ends_within(n_tokens - 1) holds. mask: as filled here.
  virtual void keep_ending(std::span<uint32_t> mask, uint32_t n_tokens) {
    (void)mask;
    (void)n_tokens;
  }
  // An end token was accepted: nothing may follow.
  virtual bool ended() const = 0;
  // Why it takes and allows no token any more, for the client; empty while it works.
  virtual std::string failure() const { return {}; }
};

// Thread: any.
class Constraint {
 public:
  virtual ~Constraint() = default;
  virtual std::unique_ptr<TokenMatcher> matcher() const = 0;
  virtual size_t n_mask_words() const = 0;  // of TokenMatcher::fill()
};

}  // namespace millrace::flow
