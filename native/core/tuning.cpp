#include "core/tuning.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "pointsman/backend.hpp"

namespace pointsman {
namespace {

// Every so many searches of a kind another coding is tried: what is best may change with the rows.
constexpr uint32_t kTryEvery = 32;
// One that took so much longer, whenever it is remembered, is tried more rarely still: a single try may have
// met with whatever else the machine did, the first ones above all.
constexpr float kHopeless = 3;
constexpr uint32_t kFirstTries = 2;
constexpr uint32_t kTryHopelessEvery = 1024;
constexpr uint32_t kFewResults = 16;

constexpr uint32_t bit(uint32_t coding) { return uint32_t{1} << coding; }
// Those without a prefix first; of both sorts, bytes alone first.
constexpr uint32_t kCodings[] = {bit(POINTSMAN_BYTES), bit(POINTSMAN_BYTES) | bit(POINTSMAN_NIBBLES),
                                 bit(POINTSMAN_BYTES) | bit(POINTSMAN_PREFIX),
                                 bit(POINTSMAN_BYTES) | bit(POINTSMAN_NIBBLES) | bit(POINTSMAN_PREFIX)};
constexpr uint32_t kWithPrefix = 2;

// Searches of one kind are alike in what bounds them: batch size and k to a power of two and of eight,
// whether there is a filter, whether they have threads.
uint32_t kind_of(uint32_t queries, uint32_t k, bool filtered, unsigned threads) {
  const auto batch = static_cast<uint32_t>(std::bit_width(queries));
  const uint32_t results = k <= kFewResults ? 0 : static_cast<uint32_t>(std::bit_width(k)) / 3;
  return results << 16 | uint32_t{threads > 1} << 9 | uint32_t{filtered} << 8 | batch;
}

}  // namespace

float Tuning::Arm::cost() const {
  if (tries == 0) return INFINITY;
  return *std::min_element(seconds.begin(), seconds.begin() + std::min(tries, kRemembered));
}

uint32_t Tuning::best_arm(const Kind& kind) {
  const auto best = std::min_element(kind.arms.begin(), kind.arms.end(),
                                     [](const Arm& a, const Arm& b) { return a.cost() < b.cost(); });
  return static_cast<uint32_t>(best - kind.arms.begin());
}

uint32_t Tuning::next_arm(const Kind& kind, bool prefixes) {
  // A prefix is there only where it promises to exclude most rows: at first only what has it is tried.
  const uint32_t first = prefixes ? kWithPrefix : 0, end = prefixes ? kArms : kWithPrefix;
  for (uint32_t arm = first; arm < end; ++arm) {
    if (kind.arms[arm].tries < kFirstTries) return arm;
  }
  const uint32_t best = best_arm(kind);
  if (kind.searches % kTryEvery != 0) return best;
  uint32_t least = best;
  for (uint32_t arm = 0; arm < end; ++arm) {
    const bool hopeless =
        kind.arms[arm].tries >= kRemembered && kind.arms[arm].cost() > kHopeless * kind.arms[best].cost();
    if (hopeless && kind.searches % kTryHopelessEvery != 0) continue;
    if (kind.arms[arm].tries < kind.arms[least].tries) least = arm;
  }
  return least;
}

Tuning::Choice Tuning::choose(uint32_t queries, uint32_t k, bool filtered, unsigned threads, bool prefixes) {
  const uint32_t number = kind_of(queries, k, filtered, threads);
  std::lock_guard lock(mutex_);
  Kind& kind = kinds_[number];
  ++kind.searches;
  const uint32_t arm = next_arm(kind, prefixes);
  return {number, arm, prefixes ? kCodings[arm] : kCodings[arm] & ~bit(POINTSMAN_PREFIX)};
}

double Tuning::expected_seconds(uint32_t queries, bool filtered) const {
  std::lock_guard lock(mutex_);
  const auto kind = kinds_.find(kind_of(queries, 1, filtered, 1));
  return kind == kinds_.end() ? INFINITY : kind->second.arms[best_arm(kind->second)].cost();
}

void Tuning::report(const Choice& choice, double seconds_per_query) {
  std::lock_guard lock(mutex_);
  Arm& arm = kinds_[choice.kind].arms[choice.arm];
  arm.seconds[arm.tries++ % kRemembered] = static_cast<float>(seconds_per_query);
}

std::string Tuning::describe() const {
  static constexpr const char* kNames[] = {"bytes", "nibbles", "prefix", "prefix and nibbles"};
  std::lock_guard lock(mutex_);
  std::string text;
  for (const auto& [number, kind] : kinds_) {
    const uint32_t batch = number & 0xFF, rest = number >> 8;
    if (rest != kind_of(1, 1, false, 2) >> 8 || batch == 0) continue;
    text += (text.empty() ? "" : ", ") + std::string("batch ") + std::to_string(1u << (batch - 1)) + ": " +
            kNames[best_arm(kind)];
  }
  return text;
}

}  // namespace pointsman
