// Bindings of the text features: textColumns, textFeatures, inverseFrequencies, encodeText.
#include "arrays.hpp"
#include "boundary.hpp"
#include "pointsman/buffer.hpp"
#include "text/features.hpp"

namespace pointsman::addon {
namespace {

// A copy of the conversations that work on the pool may keep: arguments 0-4 are bytes, message ends,
// conversation ends, weights, capitals.
struct OwnedConversations {
  explicit OwnedConversations(const Napi::CallbackInfo& info) {
    const auto copy = [](auto& to, auto from) { to.assign(from.begin(), from.end()); };
    copy(text, bytes(info[0], "bytes"));
    copy(message_ends, words(info[1], "messageEnds"));
    copy(conversation_ends, words(info[2], "conversationEnds"));
    copy(weights, floats(info[3], "weights"));
    copy(capitals, words(info[4], "capitals"));
  }
  text::Conversations view() const { return {text, message_ends, conversation_ends, weights, capitals}; }

  std::vector<uint8_t> text;
  std::vector<uint32_t> message_ends, conversation_ends, capitals;
  std::vector<float> weights;
};

Napi::Value columns_of(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), text::kColumns);
}

// (…conversations, idf, threads, listener): idf may be empty.
Napi::Value text_features(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto in = std::make_shared<OwnedConversations>(info);
    const auto idf = floats(info[5], "idf");
    const auto threads = static_cast<unsigned>(integer(info[6], "threads", 1, 1024));
    return launch(info.Env(), info[7],
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
    auto tables = unwrap_tables(info[5]);
    const auto threads = static_cast<unsigned>(integer(info[6], "threads", 1, 1024));
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
