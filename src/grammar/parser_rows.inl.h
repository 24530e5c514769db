// ParserRows: what the core's parser keeps to itself and to what derives from it. Not a header to include: it is
// compiled inside the core's grammar_matcher.cc (cmake/xgrammar.cmake).
#pragma once

namespace millrace::grammar {
namespace {

struct ParserRows : xgrammar::EarleyParser {
  // [row] what waits for rules that begin there, and what bytes lead on from
  static auto& of_waiting(xgrammar::EarleyParser& parser) {
    return parser.*(&ParserRows::rule_id_to_completable_states_);
  }
  static const auto& of_waiting(const xgrammar::EarleyParser& parser) {
    return parser.*(&ParserRows::rule_id_to_completable_states_);
  }
  static auto& of_places(xgrammar::EarleyParser& parser) { return parser.*(&ParserRows::scanable_state_history_); }
  static const auto& of_places(const xgrammar::EarleyParser& parser) {
    return parser.*(&ParserRows::scanable_state_history_);
  }
  static auto& of_ends(xgrammar::EarleyParser& parser) { return parser.*(&ParserRows::is_completed_); }
  static const auto& grammar_of(const xgrammar::EarleyParser& parser) { return parser.*(&ParserRows::grammar_); }
  // Something but the bytes of a text has a say in what it may be: our constraints never ask for that.
  static bool counts_more_than_bytes(const xgrammar::EarleyParser& parser) {
    return parser.*(&ParserRows::has_budget_rules_) || parser.*(&ParserRows::has_char_budget_rules_) ||
           parser.*(&ParserRows::capture_tracking_);
  }
};

}  // namespace
}  // namespace millrace::grammar
