#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "support.hpp"
#include "text/features.hpp"
#include "text/tokens.hpp"
#include "text/utf16.hpp"

using namespace pointsman;
using namespace pointsman::text;

namespace {

Rows features_of(const std::vector<std::string>& messages, std::span<const float> idf = {},
                 unsigned threads = 1, uint32_t capitals_of_each = 0) {
  std::string bytes;
  std::vector<uint32_t> ends, conversations, capitals(messages.size(), capitals_of_each);
  for (const auto& m : messages) {
    bytes += m;
    ends.push_back(static_cast<uint32_t>(bytes.size()));
    conversations.push_back(static_cast<uint32_t>(ends.size()));
  }
  const std::vector<float> weights(messages.size(), 1.0f);
  return features({{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
                   ends,
                   conversations,
                   weights,
                   capitals},
                  idf, threads, Cancel(), {});
}

}  // namespace

TEST_CASE("bytes that are no UTF-8 become one U+FFFD each") {
  const std::string text = "a\xC3\xA9\xFF\xC0\x80\xED\xA0\x80\xF0\x9F\x98";
  std::vector<char32_t> codes;
  for (size_t i = 0; i < text.size();) {
    char32_t code;
    i += decode(reinterpret_cast<const unsigned char*>(text.data()) + i, text.size() - i, code);
    codes.push_back(code);
  }
  REQUIRE(codes.size() == 2 + 1 + 2 + 3 + 3);
  CHECK(codes[0] == U'a');
  CHECK(codes[1] == 0xE9);
  for (size_t i = 2; i < codes.size(); ++i) CHECK(codes[i] == 0xFFFD);
}

TEST_CASE("kinds of characters") {
  CHECK(kind_of(U'a') == Kind::Letter);
  CHECK(kind_of(U'ß') == Kind::Letter);
  CHECK(kind_of(U'я') == Kind::Letter);
  CHECK(kind_of(U'7') == Kind::Digit);
  CHECK(kind_of(U'語') == Kind::Single);
  CHECK(kind_of(U'😀') == Kind::Single);
  CHECK(kind_of(U'\u3000') == Kind::Space);
}

TEST_CASE("weighed rows have length one, rising columns, and the same bits on every thread count") {
  std::vector<std::string> texts;
  for (int i = 0; i < 100; ++i) texts.push_back("the question " + std::to_string(i * 7919) + " 你好 {x}\n?");
  texts.push_back("");
  texts.push_back("\xFF\xFE");
  const Rows counts = features_of(texts);
  const auto idf = inverse_frequencies(counts.columns, texts.size());
  const Rows one = features_of(texts, idf, 1), many = features_of(texts, idf, 7);
  CHECK(one.starts == many.starts);
  CHECK(one.columns == many.columns);
  CHECK(one.values == many.values);
  REQUIRE(one.count() == texts.size());
  for (size_t i = 0; i < one.count(); ++i) {
    double squares = 0;
    for (uint32_t e = one.starts[i]; e < one.starts[i + 1]; ++e) {
      squares += double{one.values[e]} * one.values[e];
      CHECK(one.columns[e] < kColumns);
      if (e > one.starts[i]) CHECK(one.columns[e - 1] < one.columns[e]);
    }
    CHECK(squares == doctest::Approx(1).epsilon(1e-5));
  }
}

TEST_CASE("ASCII is lowered and its capitals counted, as if the caller had") {
  const Rows raw = features_of({"What Is THIS? naïve", "ABC"}),
             lowered = features_of({"what is this? naïve"}, {}, 1, 6);
  REQUIRE(raw.count() == 2);
  REQUIRE(raw.starts[1] == lowered.starts[1]);
  CHECK(std::equal(lowered.columns.begin(), lowered.columns.end(), raw.columns.begin()));
  CHECK(std::equal(lowered.values.begin(), lowered.values.end(), raw.values.begin()));
  CHECK(lowered.columns != features_of({"what is this? naïve"}).columns);
}

TEST_CASE(
    "encode adds the weighed features times the projection in their order, on every thread count and isa") {
  std::vector<std::string> few, many;  // features each: rows of many go through the projection together
  for (int i = 0; i < 70; ++i)
    few.push_back("word" + std::to_string(i * 31 % 50) + " and more; you said 你好");
  for (int i = 0; i < 5; ++i) {
    many.emplace_back();
    for (int j = 0; j < 1500; ++j) many.back() += std::to_string((i + 1) * j * 7919) + " ";
  }
  constexpr size_t kMost = 67;
  const std::vector<float> idf(kColumns, 1.5f);
  std::vector<float> table(kColumns * kMost);
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i % 1013) / 1013 - 0.5f;
  for (const auto* texts : {&few, &many}) {
    std::string bytes;
    std::vector<uint32_t> ends, capitals(texts->size(), 0), conversations;
    for (const auto& text : *texts) {
      bytes += text;
      ends.push_back(static_cast<uint32_t>(bytes.size()));
      conversations.push_back(static_cast<uint32_t>(ends.size()));
    }
    const std::vector<float> weights(texts->size(), 1.0f);
    const Conversations in{{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
                           ends,
                           conversations,
                           weights,
                           capitals};
    const Rows rows = features_of(*texts, idf);
    for (const size_t dimensions : {size_t{3}, size_t{19}, kMost}) {
      const std::span<const float> projection(table.data(), kColumns * dimensions);
      std::vector<float> expected(texts->size() * dimensions);
      for (size_t i = 0; i < texts->size(); ++i) {
        for (uint32_t e = rows.starts[i]; e < rows.starts[i + 1]; ++e) {
          for (size_t j = 0; j < dimensions; ++j)
            expected[i * dimensions + j] += rows.values[e] * projection[rows.columns[e] * dimensions + j];
        }
      }
      test::on_each_isa([&](const Kernels&) {
        CHECK(encode(in, idf, projection, dimensions, 1, Cancel()) == expected);
        CHECK(encode(in, idf, projection, dimensions, 5, Cancel()) == expected);
      });
    }
    CHECK_THROWS_AS(encode(in, {}, table, kMost, 1, Cancel()), Error);
    CHECK_THROWS_AS(encode(in, idf, table, kMost + 1, 1, Cancel()), Error);
  }
}

TEST_CASE("parts that do not fit are refused") {
  const std::vector<uint8_t> bytes(4, 'a');
  const std::vector<uint32_t> ends{4}, too_far{5}, one{1}, capitals{0};
  const std::vector<float> weights{1};
  CHECK_THROWS_AS(features({bytes, too_far, one, weights, capitals}, {}, 1, Cancel(), {}), Error);
  CHECK_THROWS_AS(features({bytes, ends, too_far, weights, capitals}, {}, 1, Cancel(), {}), Error);
  CHECK_THROWS_AS(features({bytes, ends, one, {}, capitals}, {}, 1, Cancel(), {}), Error);
  const std::vector<float> bad{std::nanf("")};
  CHECK_THROWS_AS(features({bytes, ends, one, bad, capitals}, {}, 1, Cancel(), {}), Error);
}

TEST_CASE("stretches beyond ASCII reach from space to space, near ones together") {
  const auto stretches = [](const std::u16string& text) {
    std::vector<std::u16string> found;
    size_t done = 0;
    for (size_t at; (at = find_beyond_ascii(text, done)) < text.size();) {
      const auto [begin, end] = stretch_beyond_ascii(text, done, at);
      CHECK(begin >= done);
      CHECK(begin <= at);
      CHECK(at < end);
      found.push_back(text.substr(begin, end - begin));
      done = end;
    }
    return found;
  };
  using Found = std::vector<std::u16string>;
  CHECK(stretches(u"") == Found{});
  CHECK(stretches(u"all of it ASCII") == Found{});
  CHECK(stretches(u"é") == Found{u"é"});
  CHECK(stretches(u"an xéy b") == Found{u"xéy"});
  CHECK(stretches(u"é a é far from here to there é") == Found{u"é a é", u"é"});
  for (const size_t gap : {1, 13, 14, 15, 255, 256, 257, 1000}) {
    const std::u16string letters(gap, u'x');
    CHECK(stretches(letters + u" é " + letters + u" é").size() == (gap < 14 ? 1 : 2));
    CHECK(stretches(letters + u"é" + letters) == Found{letters + u"é" + letters});
  }
}

TEST_CASE("what words are, whichever way they are read") {
  // The same with a word beyond ASCII before it, which is read character by character.
  const std::vector<std::string> texts = {
      "One, two;three 42 a1b2 x",
      "a",
      "\n\t ?",
      std::string(15, 'a'),
      std::string(16, 'a'),
      std::string(63, 'q') + " " + std::string(64, 'q') + "!" + std::string(200, 'q'),
      "the the the the, the",
      std::string(70000, 'z') + " end"};
  for (const std::string& text : texts) {
    CAPTURE(text.substr(0, 40));
    std::string beyond;  // each space becomes one beyond ASCII
    for (const char c : text) beyond += c == ' ' ? std::string("\xC2\xA0") : std::string(1, c);
    const auto ngrams = [](const Rows& rows) {
      std::vector<std::pair<uint32_t, float>> found;
      for (size_t e = 0; e < rows.columns.size(); ++e)
        if (rows.columns[e] < kWords + kChars) found.emplace_back(rows.columns[e], rows.values[e]);
      return found;
    };
    CHECK(ngrams(features_of({text})) == ngrams(features_of({beyond + "\xC2\xA0"})));
  }
}
