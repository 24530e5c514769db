// Aho-Corasick over bytes (Aho and Corasick 1975). The text held back is the longest suffix that is the beginning of a
// stop string: the depth of the automaton's state.
#include "text/stop_matcher.h"

#include <algorithm>
#include <deque>
#include <utility>

namespace millrace::text {

StopMatcher::StopMatcher(std::vector<std::string> stops, bool include_stop)
    : stops_(std::move(stops)), nodes_(1), include_stop_(include_stop) {
  for (size_t i = 0; i < stops_.size(); ++i) {
    if (!stops_[i].empty()) add_stop(i);
  }
  link_failures();
}

void StopMatcher::add_stop(size_t index) {
  uint32_t node = 0;
  for (const char c : stops_[index]) {
    const auto byte = static_cast<uint8_t>(c);
    auto& next = nodes_[node].next;
    const auto at = std::lower_bound(next.begin(), next.end(), std::pair<uint8_t, uint32_t>(byte, 0));
    if (at != next.end() && at->first == byte) {
      node = at->second;
      continue;
    }
    const auto child = static_cast<uint32_t>(nodes_.size());
    next.insert(at, {byte, child});
    Node made;
    made.depth = nodes_[node].depth + 1;
    nodes_.push_back(made);
    node = child;
  }
  if (nodes_[node].match < 0) nodes_[node].match = static_cast<int>(index);
}

uint32_t StopMatcher::step(uint32_t node, uint8_t byte) const {
  while (true) {
    const auto& next = nodes_[node].next;
    const auto at = std::lower_bound(next.begin(), next.end(), std::pair<uint8_t, uint32_t>(byte, 0));
    if (at != next.end() && at->first == byte) return at->second;
    if (node == 0) return 0;
    node = nodes_[node].fail;
  }
}

void StopMatcher::link_failures() {
  std::deque<uint32_t> queue;
  for (const auto& edge : nodes_[0].next) queue.push_back(edge.second);
  while (!queue.empty()) {
    const uint32_t node = queue.front();
    queue.pop_front();
    for (const auto& edge : nodes_[node].next) {
      nodes_[edge.second].fail = step(nodes_[node].fail, edge.first);
      queue.push_back(edge.second);
    }
    // A shorter stop string that ends here too; the longest (the first to begin) stays.
    if (nodes_[node].match < 0) nodes_[node].match = nodes_[nodes_[node].fail].match;
  }
}

StopResult StopMatcher::push(std::string_view delta, bool may_end) {
  StopResult out;
  if (stopped_) return out;
  held_ += delta;
  size_t at = held_.size() - delta.size();
  for (; at < held_.size(); ++at) {
    state_ = step(state_, static_cast<uint8_t>(held_[at]));
    if (!may_end || nodes_[state_].match < 0) continue;
    stopped_ = true;
    out.stopped = true;
    out.index = nodes_[state_].match;
    const size_t n_stop = include_stop_ ? 0 : stops_[static_cast<size_t>(out.index)].size();
    out.text = held_.substr(0, at + 1 - n_stop);
    held_.clear();
    return out;
  }
  size_t n_free = held_.size() - nodes_[state_].depth;
  while (n_free > 0 && n_free < held_.size() && (static_cast<uint8_t>(held_[n_free]) & 0xC0) == 0x80) --n_free;
  out.text = held_.substr(0, n_free);
  held_.erase(0, n_free);
  return out;
}

std::string StopMatcher::finish() {
  state_ = 0;
  return std::exchange(held_, {});
}

}  // namespace millrace::text
