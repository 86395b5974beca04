// The features of one conversation at a time. The counts are a table of one float32 a column, with one bit a
// column that says which are in use: adding an n-gram is two memory accesses at its hash, and reading the
// bits gives the columns in rising order without a sort. Between conversations both are zero.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "text/features.hpp"

namespace pointsman::text {

class Extractor {
 public:
  Extractor();

  // Appends the row of messages [first, last) of `in` to `out`.
  void extract(const Conversations& in, size_t first, size_t last, std::span<const float> idf, Rows& out);

  // This thread's own: its tables (1 MiB) are made once.
  static Extractor& of_this_thread();

 private:
  struct Shape {
    size_t messages = 0, characters = 0, digits = 0, numbers = 0, symbols = 0, capitals = 0, foreign = 0,
           lines = 0, questions = 0;
    uint64_t first_word = 0;
    char32_t last = 0;
  };

  void add(uint32_t column) {
    if (waiting_ == kWaiting) count();
    columns_[waiting_++] = column;
  }
  void count();
  void read(std::string_view message);
  void add_word(const char* begin, size_t bytes);
  void add_char_grams(const char* begin, const char* end, bool ascii);
  void add_shape();
  void write(std::span<const float> idf, Rows& out);
  double damped(float count);

  // Columns on their way into the counts: these are larger than the nearest caches, and a loop that does
  // nothing but add waits for many of them at once.
  static constexpr size_t kWaiting = 1024;
  uint32_t columns_[kWaiting];
  size_t waiting_ = 0;
  float weight_ = 0;  // of the message

  std::vector<float> counts_;
  std::vector<uint64_t> present_;
  bool unfinished_ = false;  // memory ran out in the midst of a conversation: the tables are not zero
  // The message in lower case, each space one ' ', one more at either end, and room to read 8 bytes anywhere.
  std::unique_ptr<char[]> text_;
  size_t room_ = 0;
  std::vector<const char*> starts_;  // of the characters of one word
  Shape shape_;
  uint64_t previous_ = 0;  // hash of the word before, 0: none
  // Counts repeat: what was damped last, by a hash of the count.
  struct Damped {
    float count = 0;
    double value = 0;
  };
  std::vector<Damped> damped_;
};

}  // namespace pointsman::text
