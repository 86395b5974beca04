// The features of one conversation at a time.
//
// What stands between two spaces, a chunk, comes again and again: the n-grams of short ones are hashed once a
// message, and counted times how often the chunk came. The counts are a table of one float32 a column, with
// one bit a column that says which are in use: adding an n-gram is two memory accesses at its hash, and
// reading the bits gives the columns in rising order without a sort. Between conversations all tables are
// empty.
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

  // This thread's own: its tables (2.5 MiB) are made once.
  static Extractor& of_this_thread();

 private:
  struct Shape {
    size_t messages = 0, characters = 0, digits = 0, numbers = 0, symbols = 0, capitals = 0, foreign = 0,
           lines = 0, questions = 0;
    uint64_t first_word = 0;
    char32_t last = 0;
  };
  struct Chunk {
    uint64_t low, high;    // its bytes, in lower case
    uint64_t first, last;  // hashes of its words
    uint32_t begin, end;   // of columns_of_chunks_: its words, pairs of them and character n-grams
    uint32_t times;
    uint16_t* slot;
  };

  void read(std::string_view message);
  void read_ascii(std::string_view words);
  void read_word(std::string_view word);
  void add_short(const char* at, size_t bytes);
  void add_once(const char* at, size_t bytes);
  void add_word(const char* begin, size_t bytes);
  void link(uint64_t first_word, uint64_t last_word);
  void add_char_grams(const char* begin, const char* end);
  void add_shape();
  void add(uint32_t column) {
    if (singles_ == kMostColumns) count();
    columns_of_singles_[singles_++] = column;
  }
  void count();
  void count(const uint32_t* columns, size_t n, float weight);
  size_t take(uint32_t from, uint32_t to, uint32_t* columns);
  void write(std::span<const float> idf, Rows& out);
  double damped(float count);
  void make_room(size_t bytes);
  void clear();

  // On their way into the counts, which are larger than the nearest caches: a loop that does nothing but add
  // waits for many of them at once.
  static constexpr size_t kMostColumns = size_t{1} << 15, kMostChunks = size_t{1} << 12;
  float weight_ = 0;  // of the message
  std::unique_ptr<uint32_t[]> columns_of_singles_, columns_of_chunks_;
  size_t singles_ = 0, columns_ = 0;
  std::vector<Chunk> chunks_;
  std::vector<uint16_t> slots_;  // by a hash of the chunk: its index + 1; 0 where there is none

  std::vector<float> counts_;
  std::vector<uint64_t> present_;
  std::unique_ptr<uint32_t[]> taken_;  // the columns of the part that is being written
  bool unfinished_ = false;  // memory ran out in the midst of a conversation: the tables are not empty

  // Words in lower case, each space one ' ', one more at either end, and room to read 16 bytes anywhere.
  std::unique_ptr<char[]> text_;
  size_t room_ = 0;
  std::vector<uint64_t> inside_;     // a bit for each byte of text_: that it is no space
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
