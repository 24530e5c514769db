// StopMatcher: finds the first stop string in a stream of text deltas and says what may be shown. Invariants:
//  1. no byte of a stop string that matched is released (unless include_stop);
//  2. at most (longest stop - 1) bytes are held back; released text ends at a character border;
//  3. linear in the text: one Aho-Corasick automaton over all stop strings.
// The first match is the one that ends first; among those that end together, the one that begins first.
// Thread: one at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::text {

struct StopResult {
  std::string text;      // may be released now; valid UTF-8 when the deltas are
  bool stopped = false;  // a stop string was found; later pushes give nothing
  int index = -1;        // which stop string
};

class StopMatcher {
 public:
  // Empty stop strings are never found.
  StopMatcher(std::vector<std::string> stops, bool include_stop);

  // may_end false: no stop string ends in this delta (one may begin in it).
  StopResult push(std::string_view delta, bool may_end = true);
  // The text held back, when the stream ended without a stop string.
  std::string finish();
  bool empty() const { return stops_.empty(); }

 private:
  struct Node {
    std::vector<std::pair<uint8_t, uint32_t>> next;  // sorted by byte
    uint32_t fail = 0;
    uint32_t depth = 0;  // bytes of a stop string matched so far
    int match = -1;      // longest stop string that ends here
  };
  uint32_t step(uint32_t node, uint8_t byte) const;
  void add_stop(size_t index);
  void link_failures();

  std::vector<std::string> stops_;
  std::vector<Node> nodes_;
  bool include_stop_;
  bool stopped_ = false;
  uint32_t state_ = 0;
  std::string held_;
};

}  // namespace millrace::text
