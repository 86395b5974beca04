// Which codings (codes.hpp) a search begins with. Which is fastest depends on the processor, the rows, the
// batch and k: few queries are bound by reading memory, where half of the bytes are half of the time; many by
// arithmetic, where better bounds are worth more. So it is measured: each index keeps, for searches of like
// kind, how long they took in each coding, and uses the best. Results are the same in all of them.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace pointsman {

class Tuning {
 public:
  struct Choice {
    uint32_t kind;
    uint32_t arm;
    uint32_t codings;  // for pointsman_request
  };

  Choice choose(uint32_t queries, uint32_t k, bool filtered, unsigned threads, bool prefixes);
  // Of a query in such a search for few results on one thread, as measured; infinite before the first.
  double expected_seconds(uint32_t queries, bool filtered) const;
  void report(const Choice& choice, double seconds_per_query);

  // What searches for at most 16 results use, by batch size; empty before the first.
  std::string describe() const;

 private:
  static constexpr uint32_t kArms = 4;
  static constexpr uint32_t kRemembered = 4;

  struct Arm {
    uint32_t tries = 0;
    std::array<float, kRemembered> seconds{};  // of the last tries

    float cost() const;  // their minimum: whatever else the machine does only adds
  };
  struct Kind {
    uint32_t searches = 0;
    std::array<Arm, kArms> arms;
  };

  static uint32_t next_arm(const Kind& kind, bool prefixes);
  static uint32_t best_arm(const Kind& kind);

  mutable std::mutex mutex_;
  std::map<uint32_t, Kind> kinds_;
};

}  // namespace pointsman
