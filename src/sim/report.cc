#include "sim/report.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

namespace millrace::sim {
namespace {

double ms(Tick ns) { return static_cast<double>(ns) * 1e-6; }

double part(uint64_t some, uint64_t all) { return all == 0 ? 0 : static_cast<double>(some) / static_cast<double>(all); }

Json percentiles(const Histogram& h) {
  Json out = Json::object();
  out.set("mean", h.mean() * 1e-6);
  out.set("p50", ms(h.percentile(0.50)));
  out.set("p90", ms(h.percentile(0.90)));
  out.set("p99", ms(h.percentile(0.99)));
  out.set("max", ms(h.largest()));
  return out;
}

std::string row(const char* name, const Histogram& h) {
  return fmt::format("{:<10} {:>12.1f} {:>12.1f} {:>12.1f} {:>12.1f} {:>12.1f}\n", name, h.mean() * 1e-6,
                     ms(h.percentile(0.50)), ms(h.percentile(0.90)), ms(h.percentile(0.99)), ms(h.largest()));
}

Json count(uint64_t n) { return Json(static_cast<int64_t>(n)); }

constexpr size_t kMostTenants = 64;  // that are told of one by one

// The tenants, when there are some, and not too many.
std::vector<TenantReport> tenants_to_tell(const Report& r) {
  bool several = std::ranges::any_of(r.outcomes, [&](const Outcome& o) { return o.tenant != r.outcomes[0].tenant; });
  std::vector<TenantReport> tenants = several ? tenant_reports(r) : std::vector<TenantReport>();
  if (tenants.size() > kMostTenants) tenants.clear();
  return tenants;
}

Json tenants_json(const std::vector<TenantReport>& tenants) {
  Json out = Json::array();
  for (const TenantReport& t : tenants) {
    Json row = Json::object();
    row.set("tenant", count(t.tenant));
    row.set("requests", count(t.n_requests));
    row.set("finished", count(t.n_finished));
    row.set("refused", count(t.n_refused));
    row.set("slo_attainment", part(t.n_good, t.n_requests));
    row.set("output_tokens", count(t.n_output));
    row.set("ttft_p50_ms", ms(t.ttft_p50));
    row.set("ttft_p99_ms", ms(t.ttft_p99));
    out.push_back(std::move(row));
  }
  return out;
}

}  // namespace

bool Outcome::meets(const SloSpec& slo) const {
  return finished && (slo.ttft == 0 || ttft() <= slo.ttft) && (slo.tpot == 0 || tpot() <= slo.tpot);
}

double Report::attainment() const { return part(n_good, outcomes.size()); }
double Report::hit_rate() const { return part(totals.prefix_hit_tokens, totals.prefix_query_tokens); }
double Report::waste() const {
  return part(totals.backend.held_tokens - totals.backend.used_tokens, totals.backend.held_tokens);
}

std::vector<TenantReport> tenant_reports(const Report& r) {
  std::map<uint32_t, TenantReport> tenants;
  std::map<uint32_t, std::vector<Tick>> waits;
  for (const Outcome& outcome : r.outcomes) {
    TenantReport& tenant = tenants[outcome.tenant];
    tenant.tenant = outcome.tenant;
    ++tenant.n_requests;
    tenant.n_finished += outcome.finished ? 1u : 0u;
    tenant.n_refused += outcome.refused ? 1u : 0u;
    tenant.n_good += outcome.meets(r.slo) ? 1u : 0u;
    tenant.n_output += outcome.n_output;
    if (outcome.n_output > 0) waits[outcome.tenant].push_back(outcome.ttft());
  }
  std::vector<TenantReport> out;
  for (auto& [id, tenant] : tenants) {
    std::vector<Tick>& ttft = waits[id];
    std::ranges::sort(ttft);
    if (!ttft.empty()) tenant.ttft_p50 = ttft[(ttft.size() - 1) / 2];
    if (!ttft.empty()) tenant.ttft_p99 = ttft[(ttft.size() - 1) * 99 / 100];
    out.push_back(tenant);
  }
  return out;
}

Json report_json(const Report& r) {
  Json out = Json::object();
  out.set("requests", count(r.outcomes.size()));
  out.set("finished", count(r.n_finished));
  out.set("refused", count(r.n_refused));
  out.set("replicas", count(r.n_replicas));
  out.set("seconds", r.seconds());
  out.set("prompt_tokens", count(r.totals.prompt_tokens));
  out.set("output_tokens", count(r.totals.generated_tokens));
  out.set("output_tokens_per_second", r.output_rate());
  out.set("requests_per_second", static_cast<double>(r.n_finished) / r.seconds());
  out.set("ttft_ms", percentiles(r.ttft));
  out.set("tbt_ms", percentiles(r.tbt));
  out.set("tpot_ms", percentiles(r.tpot));
  out.set("e2e_ms", percentiles(r.e2e));
  out.set("slo_attainment", r.attainment());
  out.set("goodput_requests_per_second", static_cast<double>(r.n_good) / r.seconds());
  out.set("prefix_hit_rate", r.hit_rate());
  out.set("kv_waste", r.waste());
  out.set("preemptions", count(r.totals.n_preemptions));
  out.set("recomputed_tokens", count(r.totals.recomputed_tokens));
  out.set("evictions", count(r.totals.n_evictions));
  out.set("steps", count(r.totals.backend.n_steps));
  out.set("sequence_steps", count(r.totals.backend.n_shares));
  out.set("busy", static_cast<double>(r.totals.backend.busy) * 1e-9 / (r.seconds() * r.n_replicas));
  if (auto tenants = tenants_to_tell(r); !tenants.empty()) out.set("tenants", tenants_json(tenants));
  out.set("plans_hash", fmt::format("{:016x}", r.plans_hash));
  return out;
}

std::string report_table(const Report& r) {
  std::string out = fmt::format("{} requests, {} finished, {} refused, {} replica{}, {:.1f} s\n", r.outcomes.size(),
                                r.n_finished, r.n_refused, r.n_replicas, r.n_replicas == 1 ? "" : "s", r.seconds());
  out += fmt::format("{:<10} {:>12} {:>12} {:>12} {:>12} {:>12}\n", "ms", "mean", "p50", "p90", "p99", "max");
  out += row("ttft", r.ttft) + row("tbt", r.tbt) + row("tpot", r.tpot) + row("e2e", r.e2e);
  out += fmt::format("throughput  {:.1f} output tokens/s, {:.3f} requests/s\n", r.output_rate(),
                     static_cast<double>(r.n_finished) / r.seconds());
  if (r.slo.ttft > 0 || r.slo.tpot > 0) {
    out +=
        fmt::format("goodput     {:.3f} requests/s, {:.2f} % of requests within ttft {:.0f} ms, itl {:.0f} ms\n",
                    static_cast<double>(r.n_good) / r.seconds(), 100 * r.attainment(), ms(r.slo.ttft), ms(r.slo.tpot));
  }
  for (const TenantReport& t : tenants_to_tell(r)) {
    out +=
        fmt::format("tenant {:<4} {} requests, {} finished, {} refused, ttft p50 {:.1f} ms, p99 {:.1f} ms, {} tokens\n",
                    t.tenant, t.n_requests, t.n_finished, t.n_refused, ms(t.ttft_p50), ms(t.ttft_p99), t.n_output);
  }
  out += fmt::format("cache       {:.2f} % of prompt tokens found, {} evictions, {:.3f} % of held KV empty\n",
                     100 * r.hit_rate(), r.totals.n_evictions, 100 * r.waste());
  out += fmt::format("preemption  {} times, {} tokens computed again\n", r.totals.n_preemptions,
                     r.totals.recomputed_tokens);
  out += fmt::format("steps       {}, {} sequence-steps, {:.1f} % busy\n", r.totals.backend.n_steps,
                     r.totals.backend.n_shares,
                     100 * static_cast<double>(r.totals.backend.busy) * 1e-9 / (r.seconds() * r.n_replicas));
  out += fmt::format("plans       {:016x}\n", r.plans_hash);
  return out;
}

}  // namespace millrace::sim
