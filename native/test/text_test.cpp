#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "text/features.hpp"
#include "text/tokens.hpp"

using namespace pointsman;
using namespace pointsman::text;

namespace {

Rows features_of(const std::vector<std::string>& messages, std::span<const float> idf = {},
                 unsigned threads = 1) {
  std::string bytes;
  std::vector<uint32_t> ends, conversations, capitals(messages.size(), 0);
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
  std::vector<Character> out;
  decode("a\xC3\xA9\xFF\xC0\x80\xED\xA0\x80\xF0\x9F\x98", out);
  REQUIRE(out.size() == 2 + 1 + 2 + 3 + 3 + 1);
  CHECK(out[1].code == 0xE9);
  for (size_t i = 2; i + 1 < out.size(); ++i) CHECK(out[i].code == 0xFFFD);
  CHECK(out.back().begin == 12);
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
