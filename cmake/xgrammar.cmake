# The C++ core of xgrammar as one static library: no Python bindings, no warnings of ours, hidden symbols, no LTO.
# Its sources are fetched once into third_party/ (tools/setup/fetch_sources.py), by this file when they are not there.
set(XGRAMMAR_DIR ${CMAKE_SOURCE_DIR}/third_party/xgrammar)
if(NOT EXISTS ${XGRAMMAR_DIR}/.sha256)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  execute_process(COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tools/setup/fetch_sources.py
                  COMMAND_ERROR_IS_FATAL ANY)
endif()
file(GLOB_RECURSE XGRAMMAR_SOURCES ${XGRAMMAR_DIR}/cpp/*.cc)
list(FILTER XGRAMMAR_SOURCES EXCLUDE REGEX "/cpp/tvm_ffi/|/cpp/grammar_compiler.cc|/cpp/grammar_matcher.cc|/cpp/fsm.cc|/cpp/earley_parser.cc")

# The core makes a parser for the mask of each state, at a price that grows with the grammar: 2,000 names of properties
# take 0.13 s of one core instead of 0.27 s when one parser, started again, serves them all. What is compiled is the same.
# In the text of a file of xgrammar/cpp, held by a variable.
function(replace_in variable was now)
  string(FIND "${${variable}}" "${was}" at)
  if(at EQUAL -1)
    message(FATAL_ERROR "the files of xgrammar/cpp are not those that this file was written for: no ${was}")
  endif()
  string(REPLACE "${was}" "${now}" text "${${variable}}")
  set(${variable} "${text}" PARENT_SCOPE)
endfunction()
file(READ ${XGRAMMAR_DIR}/cpp/grammar_compiler.cc XGRAMMAR_COMPILER)
replace_in(XGRAMMAR_COMPILER [[  /*!
   * \brief Get the adaptive token mask for the given ParserState.]] [[  // As a new one for this state. The flags of states that it has looked at stay: they are the grammar's.
  void Restart(const ParserState& state) {
    init_rule_id_ = state.rule_id;
    initial_state_ = state;
    rule_id_to_completable_states_.PopBack(rule_id_to_completable_states_.size());
    scanable_state_history_.PopBack(scanable_state_history_.size());
    is_completed_.clear();
    stop_token_is_accepted_ = false;
    if (capture_tracking_) capture_event_history_.PopBack(capture_event_history_.size());
    char_count_history_.clear();
    char_budget_entry_history_.clear();
    tmp_char_budget_entered_ = false;
    capture_recording_ = false;
    PushStateAndExpand(state);
  }
  /*!
   * \brief Get the adaptive token mask for the given ParserState.]])
replace_in(XGRAMMAR_COMPILER [[    auto grammar_matcher = GrammarMatcherForTokenMaskCache(]] [[    if (one_matcher.has_value()) {
      one_matcher->Restart(state);
    } else one_matcher.emplace(]])
replace_in(XGRAMMAR_COMPILER [[grammar_matcher.GetAdaptiveTokenMask]] [[one_matcher->GetAdaptiveTokenMask]])
replace_in(XGRAMMAR_COMPILER [[= cur_adaptive_token_mask_cache;]] [[= std::move(cur_adaptive_token_mask_cache);]])
replace_in(XGRAMMAR_COMPILER [[  auto add_adaptive_token_mask = ]] [[  XGRAMMAR_CHECK(max_threads_ == 1) << "one parser serves one thread";
  std::optional<GrammarMatcherForTokenMaskCache> one_matcher;
  auto add_adaptive_token_mask = ]])

# A token that the automaton of its rule takes whole is allowed, and one that it refuses is not: it is followed there
# (src/grammar/token_walk.h), from where it parts from the one before, instead of by the parser, at a tenth of the price.
# In a small grammar, states that allow few tokens are not worth the tables. What is compiled is the same.
replace_in(XGRAMMAR_COMPILER [[  const std::string* prev_token = nullptr;
  int32_t skip_ptr = 0;]] [[  const auto& automaton = grammar_->per_rule_fsms[init_rule_id_].value();
  bool walks = !is_tag_dispatch_rule && !has_char_budget_rules_ && !grammar_->GetRule(init_rule_id_).is_lazy;
  walks = walks && possible_token_num > (grammar_->complete_fsm.NumStates() > 1000 ? 32 : 1000);
  const std::vector<millrace::grammar::WalkOutcome>* outcomes = nullptr;
  if (walks) {
    if (!walk_.has_value()) walk_.emplace(sorted_decoded_vocab);
    outcomes = &walk_->walk({init_rule_id_, initial_state_.element_id}, possible_intervals, [&](int32_t state) {
      millrace::grammar::WalkState out;
      const auto& edges = automaton.GetFsm().GetFsm();
      auto again = [&](int32_t target) {  // there the rule begins once more
        for (const auto& edge : edges.GetEdges(target)) {
          if (edge.IsRuleRef() && edge.GetRefRuleId() == init_rule_id_) return true;
        }
        return false;
      };
      out.ends = (GetFsmStateFlags(init_rule_id_, state) & kFsmStateEnd) != 0;
      for (const auto& edge : edges.GetEdges(state)) {
        bool restarts = edge.IsCharRange() && again(edge.target);
        out.bytes_only = out.bytes_only && edge.IsCharRange() && !restarts;
        if (!edge.IsCharRange()) continue;
        int32_t target = restarts ? automaton.GetFsm().GetStart() : edge.target;
        out.edges.push_back({static_cast<uint8_t>(edge.min), static_cast<uint8_t>(edge.max), target});
      }
      return out;
    });
  }
  const std::string* prev_token = nullptr;
  int32_t skip_ptr = 0;]])
replace_in(XGRAMMAR_COMPILER [[      const auto& token = sorted_decoded_vocab[i].second;
      // This optimization is useful for simple self-recursive rules, like string content.]] [[      using millrace::grammar::WalkOutcome;
      WalkOutcome outcome = outcomes == nullptr ? WalkOutcome::kUnknown : (*outcomes)[i];
      if (outcome == WalkOutcome::kTaken) {
        tmp_accepted_indices_.push_back(i);
        continue;
      }
      if (outcome == WalkOutcome::kRefused) {
        tmp_rejected_indices_.push_back(i);
        last_rejected_range = subtree_nodes_range[i];
        fill_reject_indices =
            tmp_rejected_indices_.size() >= AdaptiveTokenMask::USE_BITSET_THRESHOLD ? false : fill_reject_indices;
        continue;
      }
      const auto& token = sorted_decoded_vocab[i].second;
      // This optimization is useful for simple self-recursive rules, like string content.]])
replace_in(XGRAMMAR_COMPILER [[      // Skip tokens already accepted by token edges (avoid expensive Earley simulation).
]] [[      if (outcomes != nullptr && !fill_reject_indices) {  // nobody asks for those that are refused
        i = walk_->next_possible(i, interval.second);
        if (i == interval.second) break;
      }
      // Skip tokens already accepted by token edges (avoid expensive Earley simulation).
]])
replace_in(XGRAMMAR_COMPILER [[      if (speculative_calculation) {]] [[      if (speculative_calculation && outcomes == nullptr) {]])
replace_in(XGRAMMAR_COMPILER [[  // Temporary data for GetTokenEdgeAcceptedIndices.]] [[  std::optional<millrace::grammar::TokenWalk> walk_;
  // Temporary data for GetTokenEdgeAcceptedIndices.]])
# What is done for a mask's tokens and allocates nothing is counted (src/grammar/compile_budget.h): a step for each
# token, for each byte, and where the parser follows one, for each state that it is in, and for those that wait for
# something to be complete.
set(XGRAMMAR_CHARGE "millrace::grammar::charge_steps(1 + scanable_state_history_[scanable_state_history_.size() - 1].size() + rule_id_to_completable_states_.Back().size() / 2)")
replace_in(XGRAMMAR_COMPILER [[      bool accepted = true;
      if (prev_token != nullptr) {]] [[      bool accepted = true;
      millrace::grammar::charge_steps(1);
      if (prev_token != nullptr) {]])
replace_in(XGRAMMAR_COMPILER [[          if (!Advance(token[j])) {]] "          ${XGRAMMAR_CHARGE};
          if (!Advance(token[j])) {")
replace_in(XGRAMMAR_COMPILER [[      if (!Advance(token[pos])) {]] "      ${XGRAMMAR_CHARGE};
      if (!Advance(token[pos])) {")
replace_in(XGRAMMAR_COMPILER [[#include <xgrammar/compiler.h>]] [[#include <xgrammar/compiler.h>

#include "grammar/token_walk.h"]])
# States that are merged, round after round, count as well.
set(place "  while (changed) {\n    int n = result.NumStates();\n")
file(READ ${XGRAMMAR_DIR}/cpp/fsm.cc XGRAMMAR_FSM)
replace_in(XGRAMMAR_FSM "${place}" "${place}    millrace::grammar::charge_steps(3 * n);
    by_source.clear();
    by_target.clear();
")
# A state is compared with those neighbours of its neighbour that are reached alike (src/grammar/edge_groups.h), not with
# all: of thousands of alternatives that took most of the time. What is merged is the same.
replace_in(XGRAMMAR_FSM [[  std::vector<int32_t> no_successor_non_end_states;
]] [[  std::vector<int32_t> no_successor_non_end_states;
  millrace::grammar::EdgeGroups by_source;
  millrace::grammar::EdgeGroups by_target;
]])
replace_in(XGRAMMAR_FSM [[      int32_t group_begin = 0;
      while (group_begin < siblings.size()) {
        int sibling = siblings[group_begin].peer;
        int32_t group_end = group_begin + 1;]] [[      for (int32_t group_begin : by_source.with_label(previous_state, siblings, edges_to_i[0].min, edges_to_i[0].max)) {
        int sibling = siblings[group_begin].peer;
        int32_t group_end = group_begin + 1;]])
replace_in(XGRAMMAR_FSM [[      int32_t group_begin = 0;
      while (group_begin < siblings.size()) {
        int sibling = siblings[group_begin].peer;
        while (group_begin < siblings.size() && siblings[group_begin].peer == sibling) {
          ++group_begin;
        }]] [[      for (int32_t group_begin : by_target.with_label(next_state, siblings, node_edges[0].min, node_edges[0].max)) {
        int sibling = siblings[group_begin].peer;]])
# And so do states that wait for one that is complete, of which an ambiguous grammar has ever more.
file(READ ${XGRAMMAR_DIR}/cpp/earley_parser.cc XGRAMMAR_PARSER)
set(place "  // Check all the possible parent states.\n")
replace_in(XGRAMMAR_PARSER "${place}"
           "${place}  millrace::grammar::charge_steps(rule_id_to_completable_states_[state.rule_start_pos].size() / 8);\n")
set(place "          if (parent_state_iter.first != state.rule_id) continue;\n")
replace_in(XGRAMMAR_PARSER "${place}"
           "${place}          millrace::grammar::charge_steps(rule_id_to_completable_states_.Back().size() / 8);\n")
# What a parser has found out about states is kept in one table of them all. The core has one for each rule, as large as
# that: a fifth of the time of 900 ranges of numbers, and memory of each sequence.
file(READ ${XGRAMMAR_DIR}/cpp/earley_parser.h XGRAMMAR_HEADER)
replace_in(XGRAMMAR_HEADER "std::vector<std::vector<uint8_t>> fsm_state_flags_cache_;" "std::vector<uint8_t> fsm_state_flags_cache_;")
replace_in(XGRAMMAR_HEADER "auto& flags_cache = fsm_state_flags_cache_[rule_id];" "auto& flags_cache = fsm_state_flags_cache_;")
replace_in(XGRAMMAR_PARSER "auto& flags_cache = fsm_state_flags_cache_[rule_id];" "auto& flags_cache = fsm_state_flags_cache_;")
replace_in(XGRAMMAR_PARSER "fsm_state_flags_cache_(grammar->NumRules())" "fsm_state_flags_cache_()")
set(XGRAMMAR_HEADER_FILE ${CMAKE_BINARY_DIR}/generated/xgrammar_earley_parser.h)
file(GENERATE OUTPUT ${XGRAMMAR_HEADER_FILE} CONTENT "${XGRAMMAR_HEADER}")
# The states of a matcher's parser are read behind the file that defines it (src/grammar/core_view.h).
file(READ ${XGRAMMAR_DIR}/cpp/grammar_matcher.cc XGRAMMAR_MATCHER)
# What the masks of the parser's states leave to the parser, it is asked for all at once (src/grammar/parse_walk.inl.h)
# instead of token by token, from where that was done for many. The masks are the same.
replace_in(XGRAMMAR_MATCHER [[#include "tokenizer_info_impl.h"
]] [[#include "tokenizer_info_impl.h"
#include "grammar/parse_walk.inl.h"
]])
replace_in(XGRAMMAR_MATCHER [[  std::vector<int32_t> tmp_rejected_indices_delta_;
]] [[  std::vector<int32_t> tmp_rejected_indices_delta_;

 public:
  const millrace::grammar::TokenClasses* token_classes_ = nullptr;
]])
replace_in(XGRAMMAR_MATCHER [[  for (const auto& [state, adaptive_token_mask_it] : latest_states_with_masks) {
]] [[  millrace::grammar::ParseWalk walk(*this, token_classes_);
  for (const auto& [state, adaptive_token_mask_it] : latest_states_with_masks) {
]])
replace_in(XGRAMMAR_MATCHER [[    const auto& uncertain_indices = adaptive_token_mask.uncertain_indices;
    for (auto token_it = uncertain_indices.begin(); token_it != uncertain_indices.end();) {
]] [[    const bool keeps_rejected = adaptive_token_mask.store_type == StoreType::kRejected;
    const std::vector<int32_t>* left = &adaptive_token_mask.uncertain_indices;
    const std::vector<int32_t>* rejected = keeps_rejected ? &adaptive_token_mask.rejected_indices : nullptr;
    if (walk.done()) {
      left = &walk.sort_out(left->data(), left->data() + left->size(), rejected, {}, tmp_accepted_bitset_);
    }
    for (auto token_it = left->begin(); token_it != left->end();) {
      if (walk.is_worth_it()) {
        PopLastStates(prev_matched_size + 1);
        walk.run();
        PushOneStateToCheck(state);
        prev_token = nullptr;
        prev_matched_size = 0;
        last_rejected_uncertain_range = 0;
        left = &walk.sort_out(&*token_it, left->data() + left->size(), rejected, tmp_rejected_indices_delta_,
                              tmp_accepted_bitset_);
        token_it = left->begin();
        continue;
      }
]])
replace_in(XGRAMMAR_MATCHER [[              uncertain_indices.end() - token_it, last_rejected]] [[              left->end() - token_it, last_rejected]])
replace_in(XGRAMMAR_MATCHER [[          bool byte_accepted = has_char_budget_rules_
]] [[          walk.note_step();
          bool byte_accepted = has_char_budget_rules_
]])
replace_in(XGRAMMAR_MATCHER [[      if (adaptive_token_mask.store_type == StoreType::kAcceptedBitset ||
          adaptive_token_mask.store_type == StoreType::kAccepted) {
        if (accepted) {]] [[      if (walk.done() || !keeps_rejected) {
        if (accepted) {]])
replace_in(XGRAMMAR_MATCHER [[    if (adaptive_token_mask.store_type == StoreType::kRejected) {
      // rejected_indices = Intersect(]] [[    if (!walk.done() && keeps_rejected) {
      // rejected_indices = Intersect(]])
string(APPEND XGRAMMAR_MATCHER "\n#include \"grammar/core_view.inl.h\"\n")
foreach(name COMPILER FSM PARSER MATCHER)
  set(file ${CMAKE_BINARY_DIR}/generated/xgrammar_${name}.cc)
  file(GENERATE OUTPUT ${file} CONTENT "#include \"grammar/edge_groups.h\"\n${XGRAMMAR_${name}}")
  list(APPEND XGRAMMAR_OWN ${file})
endforeach()
set_source_files_properties(${XGRAMMAR_OWN} PROPERTIES INCLUDE_DIRECTORIES "${XGRAMMAR_DIR}/cpp;${CMAKE_SOURCE_DIR}/src")
add_library(xgrammar STATIC ${XGRAMMAR_SOURCES} ${XGRAMMAR_OWN})
target_include_directories(xgrammar SYSTEM PUBLIC ${XGRAMMAR_DIR}/include ${XGRAMMAR_DIR}/3rdparty/dlpack/include
                           PRIVATE ${XGRAMMAR_DIR}/3rdparty/picojson ${XGRAMMAR_DIR}/cpp)
target_compile_definitions(xgrammar PRIVATE XGRAMMAR_ENABLE_CPPTRACE=0 XGRAMMAR_ENABLE_INTERNAL_CHECK=0)
# before all others, so that its guard keeps the core's own out
target_compile_options(xgrammar PRIVATE -include ${XGRAMMAR_HEADER_FILE} -w -fstack-protector-strong -fcf-protection)
set_target_properties(xgrammar PROPERTIES CXX_STANDARD 17 CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
