// Bindings of the text features: textColumns, textFeatures, inverseFrequencies, encodeText.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "arrays.hpp"
#include "boundary.hpp"
#include "pointsman/buffer.hpp"
#include "text/features.hpp"
#include "text/utf16.hpp"

namespace pointsman::addon {
namespace {

// Conversations that work on the pool may keep. Arguments 0-3 are the contents of all messages (an array of
// strings), conversation ends, weights, and a function that brings a string to NFKC and lower case.
class OwnedConversations {
 public:
  explicit OwnedConversations(const Napi::CallbackInfo& info) {
    const auto copy = [](auto& to, auto from) { to.assign(from.begin(), from.end()); };
    copy(conversation_ends_, words(info[1], "conversationEnds"));
    copy(weights_, floats(info[2], "weights"));
    if (!info[0].IsArray()) throw Error(Code::BAD_ARGUMENT, "contents must be an array of strings");
    if (!info[3].IsFunction()) throw Error(Code::BAD_ARGUMENT, "normalised must be a function");
    const auto contents = info[0].As<Napi::Array>();
    const auto normalised = info[3].As<Napi::Function>();
    size_t units = 0;
    for (uint32_t m = 0; m < contents.Length(); ++m) {
      const Napi::HandleScope scope(info.Env());
      units += length_of(contents[m]);
    }
    make_room(units);
    for (uint32_t m = 0; m < contents.Length(); ++m) {
      const Napi::HandleScope scope(info.Env());
      read(contents[m], normalised);
      message_ends_.push_back(static_cast<uint32_t>(length_));
    }
    units_ = {};
  }

  text::Conversations view() const {
    return {{text_.as<uint8_t>(), length_}, message_ends_, conversation_ends_, weights_, capitals_};
  }

 private:
  // Appends a message. Its ASCII goes through as it is, at the speed of a copy; the stretches between spaces
  // that hold more than that go through JavaScript, which knows Unicode.
  void read(const Napi::Value& content, const Napi::Function& normalised) {
    const std::u16string_view units = units_of(content);
    uint32_t capitals = 0;
    size_t done = 0;
    for (size_t found; (found = text::find_beyond_ascii(units, done)) < units.size();) {
      const auto [begin, end] = text::stretch_beyond_ascii(units, done, found);
      append_ascii(units.substr(done, begin - done));
      for (const char16_t unit : units.substr(begin, end - begin)) capitals += unit >= u'A' && unit <= u'Z';
      const auto stretch = Napi::String::New(content.Env(), units.data() + begin, end - begin);
      const auto bytes = addon::text(normalised.Call({stretch}), "what normalised returns");
      make_room(bytes.size());
      std::memcpy(text_.as<char>() + length_, bytes.data(), bytes.size());
      length_ += bytes.size();
      done = end;
    }
    append_ascii(units.substr(done));
    capitals_.push_back(capitals);
  }

  void append_ascii(std::u16string_view units) {
    make_room(units.size());
    uint8_t* to = text_.as<uint8_t>() + length_;
    for (size_t i = 0; i < units.size(); ++i) to[i] = static_cast<uint8_t>(units[i]);
    length_ += units.size();
  }

  // For `bytes` more.
  void make_room(size_t bytes) {
    if (length_ + bytes <= text_.bytes()) return;
    if (length_ + bytes > UINT32_MAX)
      throw Error(Code::BAD_ARGUMENT, "the conversations of one call have more than 4 GiB of text");
    Buffer larger(std::max(length_ + bytes, length_ + length_ / 2));
    if (length_ > 0) std::memcpy(larger.as<char>(), text_.as<char>(), length_);
    text_ = std::move(larger);
  }

  // In units of UTF-16.
  static size_t length_of(const Napi::Value& content) {
    size_t length = 0;
    if (!content.IsString() ||
        napi_get_value_string_utf16(content.Env(), content, nullptr, 0, &length) != napi_ok)
      throw Error(Code::BAD_ARGUMENT, "contents must be an array of strings");
    return length;
  }

  // Valid until the next call.
  std::u16string_view units_of(const Napi::Value& content) {
    size_t length = length_of(content);
    if (room_ <= length) {  // the call writes an end, too
      units_ = std::make_unique_for_overwrite<char16_t[]>(2 * length + 1);
      room_ = 2 * length + 1;
    }
    if (napi_get_value_string_utf16(content.Env(), content, units_.get(), room_, &length) != napi_ok)
      throw Error(Code::INTERNAL, "a string could not be read");
    return {units_.get(), length};
  }

  Buffer text_;
  size_t length_ = 0;  // of what is written of it
  std::vector<uint32_t> message_ends_, conversation_ends_, capitals_;
  std::vector<float> weights_;
  std::unique_ptr<char16_t[]> units_;
  size_t room_ = 0;
};

Napi::Value columns_of(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), text::kColumns);
}

// (…conversations, idf, threads, listener): idf may be empty.
Napi::Value text_features(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto in = std::make_shared<OwnedConversations>(info);
    const auto idf = floats(info[4], "idf");
    const auto threads = static_cast<unsigned>(integer(info[5], "threads", 1, 1024));
    return launch(info.Env(), info[6],
                  [in, threads, idf = std::vector<float>(idf.begin(), idf.end())](
                      const Cancel& cancel, const Progress& progress) -> Settle {
                    auto rows = std::make_shared<text::Rows>(
                        text::features(in->view(), idf, threads, cancel, progress));
                    return [rows](Napi::Env env) -> Napi::Value {
                      auto out = Napi::Object::New(env);
                      out.Set("starts", to_array(env, rows->starts));
                      out.Set("columns", to_array(env, rows->columns));
                      out.Set("values", to_array(env, rows->values));
                      return out;
                    };
                  });
  });
}

// (columns, rows) → idf
Napi::Value inverse_frequencies(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const auto columns = words(info[0], "columns");
    const auto rows = static_cast<size_t>(integer(info[1], "rows", 0, UINT32_MAX));
    return to_array(info.Env(), text::inverse_frequencies(columns, rows));
  });
}

// What one encoder keeps natively, so that a call copies no tables: made by encoderTables(idf, projection,
// dimensions).
struct Tables {
  std::vector<float> idf;
  Buffer projection;  // rows are read anywhere: huge pages spare translations of addresses
  size_t size = 0, dimensions = 0;
};
constexpr napi_type_tag kTablesTag = {0x1f6c1be0a3d94c57ull, 0x9d2e5a7b40c86f13ull};

Napi::Value encoder_tables(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const Napi::Env env = info.Env();
    const auto idf = floats(info[0], "idf"), projection = floats(info[1], "projection");
    const auto dimensions = static_cast<size_t>(integer(info[2], "dimensions", 1, 4096));
    if (idf.size() != text::kColumns || projection.size() != dimensions * text::kColumns) {
      throw Error(Code::WRONG_SHAPE,
                  "idf must have one entry for each column, projection columns × dimensions");
    }
    // Bounded, too: a sum over all columns must not overflow.
    for (const float value : idf)
      if (!(value >= 0 && value <= 1e6f))
        throw Error(Code::NOT_FINITE, "idf must have numbers from 0 to 1e6");
    for (const float value : projection)
      if (!(std::abs(value) <= 1e30f))
        throw Error(Code::NOT_FINITE, "projection must have numbers from -1e30 to 1e30");
    auto tables = std::make_shared<Tables>();
    tables->idf.assign(idf.begin(), idf.end());
    tables->projection = Buffer(projection.size_bytes());
    std::memcpy(tables->projection.as<float>(), projection.data(), projection.size_bytes());
    tables->size = projection.size();
    tables->dimensions = dimensions;
    auto holder = Napi::Object::New(env);
    auto* held = new std::shared_ptr<const Tables>(std::move(tables));
    const auto release = [](napi_env, void* data, void*) {
      delete static_cast<std::shared_ptr<const Tables>*>(data);
    };
    if (napi_wrap(env, holder, held, release, nullptr, nullptr) != napi_ok) {
      delete held;
      throw Error(Code::INTERNAL, "the tables could not be kept");
    }
    if (napi_type_tag_object(env, holder, &kTablesTag) != napi_ok)
      throw Error(Code::INTERNAL, "the tables could not be marked");
    return holder;
  });
}

std::shared_ptr<const Tables> unwrap_tables(const Napi::Value& value) {
  bool ours = false;
  void* data = nullptr;
  if (!value.IsObject() || napi_check_object_type_tag(value.Env(), value, &kTablesTag, &ours) != napi_ok ||
      !ours || napi_unwrap(value.Env(), value, &data) != napi_ok) {
    throw Error(Code::BAD_ARGUMENT, "tables must come from encoderTables");
  }
  return *static_cast<std::shared_ptr<const Tables>*>(data);
}

// (…conversations, tables, threads) → conversations × dimensions
Napi::Value encode_text(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto in = std::make_shared<OwnedConversations>(info);
    auto tables = unwrap_tables(info[4]);
    const auto threads = static_cast<unsigned>(integer(info[5], "threads", 1, 1024));
    return launch(info.Env(), info.Env().Undefined(),
                  [in, tables, threads](const Cancel& cancel, const Progress&) -> Settle {
                    auto psi = std::make_shared<std::vector<float>>(
                        text::encode(in->view(), tables->idf, {tables->projection.as<float>(), tables->size},
                                     tables->dimensions, threads, cancel));
                    return [psi](Napi::Env env) -> Napi::Value { return to_array(env, *psi); };
                  });
  });
}

}  // namespace

void init_text(Napi::Env env, Napi::Object exports) {
  exports.Set("textColumns", Napi::Function::New(env, columns_of, "textColumns"));
  exports.Set("textFeatures", Napi::Function::New(env, text_features, "textFeatures"));
  exports.Set("inverseFrequencies", Napi::Function::New(env, inverse_frequencies, "inverseFrequencies"));
  exports.Set("encoderTables", Napi::Function::New(env, encoder_tables, "encoderTables"));
  exports.Set("encodeText", Napi::Function::New(env, encode_text, "encodeText"));
}

}  // namespace pointsman::addon
