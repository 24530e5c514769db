// The functions of CoreView; see core_view.h. Not a header to include: it is compiled at the end of the core's
// grammar_matcher.cc.
#pragma once

#include "grammar/core_view.h"
#include "grammar/parser_rows.inl.h"

namespace millrace::grammar {
namespace {

CorePlace place_of(const xgrammar::ParserState& state) {
  return {state.rule_id, state.element_id, state.rule_start_pos, state.repeat_count};
}

}  // namespace

int32_t CoreView::n_rules(const xgrammar::CompiledGrammar& grammar) { return grammar->grammar->NumRules(); }

int32_t CoreView::n_states(const xgrammar::CompiledGrammar& grammar) {
  return grammar->grammar->complete_fsm.NumStates();
}

int32_t CoreView::start_of(const xgrammar::CompiledGrammar& grammar, int32_t rule) {
  return grammar->grammar->per_rule_fsms[static_cast<size_t>(rule)]->GetFsm().GetStart();
}

const std::vector<int32_t>& CoreView::ends_of(const xgrammar::CompiledGrammar& grammar, int32_t rule) {
  return grammar->grammar->per_rule_fsms[static_cast<size_t>(rule)]->GetFsm().GetEnds();
}

void CoreView::edges_of(const xgrammar::CompiledGrammar& grammar, int32_t state, std::vector<CoreEdge>& edges) {
  edges.clear();
  const xgrammar::CompactFSM& all = grammar->grammar->complete_fsm;
  for (const xgrammar::FSMEdge& edge : all.GetEdges(state)) {
    CoreEdge out;
    out.target = edge.target;
    if (edge.IsCharRange()) {
      out.kind = EdgeKind::kBytes;
      out.first = edge.min;
      out.last = edge.max;
    } else if (edge.IsEpsilon()) {
      out.kind = EdgeKind::kFree;
    } else if (edge.IsRuleRef()) {
      out.kind = EdgeKind::kRule;
      out.first = edge.GetRefRuleId();
    } else if (edge.IsRepeatRef()) {
      xgrammar::RepeatEdgeRef repeat = all.GetRepeatEdgeInfo(edge.GetAuxIndex());
      out.kind = EdgeKind::kRepeat;
      out.first = repeat.RuleId();
      out.last = repeat.Lower();
    }
    edges.push_back(out);
  }
}

// None where what a token does is not in its bytes alone, which our constraints never ask for.
size_t CoreView::most_left(const xgrammar::CompiledGrammar& grammar) {
  for (int32_t rule = 0; rule < n_rules(grammar); ++rule) {
    if (grammar->grammar->GetRule(rule).is_lazy) return 0;
  }
  size_t most = 0;
  for (const auto& [state, mask] : grammar->adaptive_token_mask_cache) {
    most = std::max(most, mask.uncertain_indices.size());
  }
  return most;
}

void CoreView::use(xgrammar::GrammarMatcher& matcher, const TokenClasses* classes) {
  matcher.ImplPtr()->token_classes_ = classes;
}

int32_t CoreView::n_rows(const xgrammar::GrammarMatcher& matcher) {
  return static_cast<int32_t>(ParserRows::of_places(*matcher.ImplPtr()).size());
}

void CoreView::places(const xgrammar::GrammarMatcher& matcher, std::vector<CorePlace>& places) {
  places.clear();
  const auto& rows = ParserRows::of_places(*matcher.ImplPtr());
  for (const xgrammar::ParserState& state : rows[rows.size() - 1]) places.push_back(place_of(state));
}

int32_t CoreView::n_waiting(const xgrammar::GrammarMatcher& matcher) {
  const auto& rows = ParserRows::of_waiting(*matcher.ImplPtr());
  return rows[rows.size() - 1].size();
}

void CoreView::waiting(const xgrammar::GrammarMatcher& matcher, int32_t row, std::vector<CoreWaiting>& waiting) {
  waiting.clear();
  for (const auto& one : ParserRows::of_waiting(*matcher.ImplPtr())[row]) {
    waiting.push_back({one.first, place_of(one.second)});
  }
}

}  // namespace millrace::grammar
