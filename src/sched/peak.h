// Peak: the most blocks that sequences hold at once when they decode in step, each until its last token is made, and
// nobody comes or ends before. Block by block: what is left of a sequence's last block is not counted again.
//  1. At the end of the k-th longest remainder the k longest are there, each grown by that remainder: the peak is the
//     largest of these sums.
//  2. Shared blocks count once for each holder. Blocks of windows count as many as the sequence can ever hold.
// Source: lightllm's "estimated peak" (github.com/ModelTC/lightllm, router), in blocks here. Thread: engine.
#pragma once

#include <cstdint>
#include <vector>

#include "sched/seq_table.h"

namespace millrace::sched {

// Prompt and all output that was asked for, in tokens.
uint32_t total_tokens(const Seq& seq, uint32_t max_len);

class Peak {
 public:
  explicit Peak(const SchedOptions& options);

  void begin(const flow::KvGeometry& kv);
  // It decodes from what is known of it now on; its prompt counts as computed.
  void add(const Seq& seq);
  uint64_t blocks();

 private:
  struct Need {
    uint32_t n_tokens = 0;  // with those of steps in flight
    uint32_t left = 0;      // tokens it may still produce
    uint64_t fixed = 0;     // blocks of windows
  };

  const flow::KvGeometry* kv_ = nullptr;
  uint32_t chunk_;
  uint32_t late_;  // steps after its last token in which a sequence still holds its blocks
  uint32_t n_full_ = 0;
  std::vector<Need> needs_;     // scratch
  std::vector<uint32_t> ends_;  // scratch [block_tokens]: sequences by tokens in their last block
};

}  // namespace millrace::sched
