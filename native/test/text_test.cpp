#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "text/features.hpp"
#include "text/tokens.hpp"

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

TEST_CASE("encode is the product of the weighed features and the projection, on every thread count") {
  std::vector<std::string> texts;
  for (int i = 0; i < 70; ++i)
    texts.push_back("word" + std::to_string(i * 31 % 50) + " and more; you said 你好");
  std::string bytes;
  std::vector<uint32_t> ends, capitals(texts.size(), 0), conversations;
  for (const auto& text : texts) {
    bytes += text;
    ends.push_back(static_cast<uint32_t>(bytes.size()));
    conversations.push_back(static_cast<uint32_t>(ends.size()));
  }
  const std::vector<float> weights(texts.size(), 1.0f);
  const Conversations in{
      {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, ends, conversations, weights, capitals};
  const std::vector<float> idf(kColumns, 1.5f);
  constexpr size_t kDimensions = 3;
  std::vector<float> projection(kColumns * kDimensions);
  for (size_t i = 0; i < projection.size(); ++i) projection[i] = static_cast<float>(i % 1013) / 1013 - 0.5f;
  const auto psi = encode(in, idf, projection, kDimensions, 1, Cancel());
  CHECK(psi == encode(in, idf, projection, kDimensions, 5, Cancel()));
  const Rows rows = features_of(texts, idf);
  for (size_t i = 0; i < texts.size(); ++i) {
    for (size_t j = 0; j < kDimensions; ++j) {
      double sum = 0;
      for (uint32_t e = rows.starts[i]; e < rows.starts[i + 1]; ++e)
        sum += double{rows.values[e]} * projection[rows.columns[e] * kDimensions + j];
      CHECK(psi[i * kDimensions + j] == doctest::Approx(sum).epsilon(1e-4));
    }
  }
  CHECK_THROWS_AS(encode(in, {}, projection, kDimensions, 1, Cancel()), Error);
  CHECK_THROWS_AS(encode(in, idf, projection, kDimensions + 1, 1, Cancel()), Error);
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
