// Workload: the requests of a simulation: when they arrive, what their prompts share, how long their answers are.
// Prompts are strings of pieces; equal pieces at equal places are equal tokens, so prefixes are shared as in the trace.
//  1. Token ids are functions of (content, place in the piece); kEndToken is never among them.
//  2. The answer's length is known to the fake model only; the engine sees max_tokens.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace millrace::sim {

constexpr TokenId kEndToken = 0;  // ends every answer

struct Piece {
  uint64_t content = 0;
  uint32_t n_tokens = 0;
};

struct SimRequest {
  Tick arrival = 0;  // from the start of the simulation
  uint32_t tenant = 0;
  uint32_t weight = 1;  // of the tenant
  int16_t band = 0;
  Tick deadline = 0;        // from its arrival; 0 = none
  uint32_t n_output = 1;    // tokens of the answer, kEndToken included
  uint32_t max_tokens = 0;  // what the client asks for; 0 = n_output
  std::vector<Piece> prompt;

  uint32_t n_prompt() const;
};

struct Workload {
  std::vector<SimRequest> requests;  // by arrival
  // > 0: so many clients, each with the next request the moment its last one has ended; arrivals are not looked at.
  uint32_t n_clients = 0;
};

TokenId token_of(uint64_t content, uint64_t place);
// Tokens of the prompt, written to `out` (cleared first).
void write_prompt(const SimRequest& request, std::vector<TokenId>& out);
// Content ids of prompts that share nothing: one per number.
constexpr uint64_t unique_content(uint64_t number) { return 1ull << 63 | number; }

// One trace file: `.jsonl` with timestamp (ms), input_length, output_length, hash_ids (one per 512-token block of the
// prompt, the format of the Mooncake traces), or `.csv` with a header that names num_prefill_tokens, num_decode_tokens
// and, optionally, arrived_at (s), tenant (a number), priority and timeout (s; 0 = none), which mean what the API's
// fields do; or, by its first bytes, an event log of the engine (sim/recorded_load.h). kNotFound, or kBadFile with the
// line.
Result<Workload> read_trace(const std::string& path);
// The same from text; `name` is for messages.
Result<Workload> parse_mooncake(std::string_view text, std::string_view name);
Result<Workload> parse_lengths_csv(std::string_view text, std::string_view name);

// Keeps the first n requests; 0 = all.
void keep_first(Workload& workload, uint64_t n);
// Every request n times, at the same time; a copy shares prefixes with those of its own number only.
void multiply(Workload& workload, uint32_t n);
// weights[t] for tenant t; those beyond have 1.
void set_weights(Workload& workload, std::span<const uint32_t> weights);
// All requests arrive at once.
void arrive_at_once(Workload& workload);
// Arrival times times `factor`.
void stretch(Workload& workload, double factor);

}  // namespace millrace::sim
