#include "instance/tenants.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/macros.h"

namespace millrace::instance {
namespace {

constexpr uint64_t kMostWeight = 1000;
constexpr uint64_t kMostQuota = 1'000'000'000'000;
constexpr size_t kMostNameBytes = 128;
constexpr Tick kMinute = 60 * kSecond;

Result<uint64_t> number(std::string_view rule, std::string_view text, std::string_view what, uint64_t most) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value == 0 || value > most) {
    return Error{ErrorCode::kUsage,
                 fmt::format("--tenant {}: {} must be 1..{}", quote_for_message(std::string(rule)), what, most),
                 "--tenant"};
  }
  return value;
}

}  // namespace

Result<TenantRule> parse_tenant_rule(std::string_view text) {
  size_t colon = text.find(':');
  if (colon == 0 || colon == std::string_view::npos || colon > kMostNameBytes) {
    return Error{ErrorCode::kUsage,
                 fmt::format("--tenant {}: want NAME:WEIGHT or NAME:WEIGHT:TOKENS_PER_MINUTE",
                             quote_for_message(std::string(text))),
                 "--tenant"};
  }
  TenantRule rule;
  rule.name = std::string(text.substr(0, colon));
  std::string_view rest = text.substr(colon + 1);
  size_t second = std::min(rest.find(':'), rest.size());
  rule.weight = static_cast<uint32_t>(TRY(number(text, rest.substr(0, second), "the weight", kMostWeight)));
  if (second < rest.size()) {
    rule.tokens_per_minute = TRY(number(text, rest.substr(second + 1), "the tokens per minute", kMostQuota));
  }
  return rule;
}

TenantTable::TenantTable(std::vector<TenantRule> rules) : accounts_(1) {
  for (TenantRule& rule : rules) {
    if (ids_.contains(rule.name)) continue;
    ids_.emplace(rule.name, static_cast<uint32_t>(accounts_.size()));
    accounts_.push_back({.name = std::move(rule.name),
                         .weight = rule.weight,
                         .tokens_per_minute = rule.tokens_per_minute,
                         .left = static_cast<double>(rule.tokens_per_minute)});
  }
}

Tenant TenantTable::intern(std::string_view name) {
  std::lock_guard lock(mutex_);
  auto found = ids_.find(name);
  if (found == ids_.end()) {
    if (name.empty() || ids_.size() >= kMostNames) return {};
    found = ids_.emplace(std::string(name), static_cast<uint32_t>(accounts_.size())).first;
    accounts_.emplace_back().name = std::string(name);
  }
  return {.id = found->second, .weight = accounts_[found->second].weight};
}

std::string TenantTable::name(uint32_t id) {
  std::lock_guard lock(mutex_);
  CHECK(id < accounts_.size(), "tenant {} of {}", id, accounts_.size());
  return accounts_[id].name;
}

Result<void> TenantTable::admit(uint32_t id, uint64_t n_tokens, Tick now) {
  std::lock_guard lock(mutex_);
  CHECK(id < accounts_.size(), "tenant {} of {}", id, accounts_.size());
  Account& account = accounts_[id];
  if (account.tokens_per_minute == 0) return {};
  fill(account, now);
  if (account.left <= 0) {
    return Error{ErrorCode::kRateLimitExceeded,
                 fmt::format("tenant {} has used its {} tokens per minute; the next request can start in {} s",
                             quote_for_message(account.name), account.tokens_per_minute, wait_s(account)),
                 ""};
  }
  account.left -= static_cast<double>(n_tokens);
  return {};
}

int64_t TenantTable::wait_s(uint32_t id, Tick now) {
  std::lock_guard lock(mutex_);
  CHECK(id < accounts_.size(), "tenant {} of {}", id, accounts_.size());
  fill(accounts_[id], now);
  return wait_s(accounts_[id]);
}

int64_t TenantTable::wait_s(const Account& account) {
  if (account.tokens_per_minute == 0 || account.left > 0) return 0;
  double per_second = static_cast<double>(account.tokens_per_minute) / 60.0;
  return static_cast<int64_t>(std::floor(-account.left / per_second)) + 1;
}

void TenantTable::refund(uint32_t id, uint64_t n_tokens) {
  std::lock_guard lock(mutex_);
  CHECK(id < accounts_.size(), "tenant {} of {}", id, accounts_.size());
  Account& account = accounts_[id];
  account.left = std::min(static_cast<double>(account.tokens_per_minute), account.left + static_cast<double>(n_tokens));
}

void TenantTable::charge(uint32_t id, uint64_t n_tokens, Tick now) {
  std::lock_guard lock(mutex_);
  CHECK(id < accounts_.size(), "tenant {} of {}", id, accounts_.size());
  Account& account = accounts_[id];
  if (account.tokens_per_minute == 0) return;
  fill(account, now);
  account.left -= static_cast<double>(n_tokens);
}

void TenantTable::fill(Account& account, Tick now) {
  auto quota = static_cast<double>(account.tokens_per_minute);
  auto passed = static_cast<double>(std::max<Tick>(now - account.filled_at, 0));
  account.left = std::min(quota, account.left + quota * passed / static_cast<double>(kMinute));
  account.filled_at = std::max(account.filled_at, now);
}

}  // namespace millrace::instance
