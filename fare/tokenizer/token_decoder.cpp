#include "fare/tokenizer/token_decoder.h"

#include <limits>

#include "fare/tokenizer/byte_alphabet.h"
#include "fare/tokenizer/byte_pieces.h"
#include "fare/tokenizer/pre_tokenizer.h"
#include "fare/tokenizer/text_pattern.h"
#include "fare/tokenizer/unicode.h"

namespace fare {
namespace {

// A token made of byte letters gives its bytes; any other passes as it is. Bytes of neighbours join to characters.
class ByteLevel : public TokenDecoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string bytes;
    std::string token_bytes;
    for (const auto& token : tokens) {
      token_bytes.clear();
      bool letters = true;
      for (size_t i = 0; letters && i < token.size();) {
        const int byte = kByteAlphabet.byte_of(next_code_point(token, i));
        letters = byte >= 0;
        if (letters) token_bytes += static_cast<char>(byte);
      }
      bytes += letters ? token_bytes : token;
    }
    tokens = {replace_invalid_utf8(bytes)};
  }
};

class Replace : public TokenDecoder {
 public:
  explicit Replace(const JsonNode& node) : pattern_(node.at("pattern")), content_(node.text("content")) {
    node.note_other_fields({"type", "pattern", "content"});
  }
  void apply(std::vector<std::string>& tokens) const override {
    TextPattern::Matcher matcher(pattern_);
    for (auto& token : tokens) {
      std::string out;
      size_t copied = 0;
      matcher.for_each_match(token, [&](size_t begin, size_t end) {
        out.append(token, copied, begin - copied);
        out += content_;
        copied = end;
      });
      out.append(token, copied);
      token = std::move(out);
    }
  }

 private:
  TextPattern pattern_;
  std::string content_;
};

// Runs of byte tokens become their text; a run that is not UTF-8 becomes one U+FFFD a byte.
class ByteFallback : public TokenDecoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::vector<std::string> out;
    std::string run;
    const auto flush = [&] {
      if (run.empty()) return;
      if (!first_invalid_utf8(run)) out.push_back(run);
      else out.insert(out.end(), run.size(), "\xEF\xBF\xBD");
      run.clear();
    };
    for (auto& token : tokens) {
      if (const auto byte = named_byte(token)) {
        run += *byte;
      } else {
        flush();
        out.push_back(std::move(token));
      }
    }
    flush();
    tokens = std::move(out);
  }
};

class Fuse : public TokenDecoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string all;
    for (const auto& token : tokens) all += token;
    tokens = {std::move(all)};
  }
};

// Cuts up to `start` and `stop` characters equal to `content` from the edges of each token.
class Strip : public TokenDecoder {
 public:
  explicit Strip(const JsonNode& node)
      : content_(node.text("content")),
        start_(node.at("start").integer(0, std::numeric_limits<int32_t>::max())),
        stop_(node.at("stop").integer(0, std::numeric_limits<int32_t>::max())) {
    if (content_.empty() || utf8_length(content_[0]) != content_.size())
      node.at("content").fail("expected one character, found '" + content_ + "'");
    node.note_other_fields({"type", "content", "start", "stop"});
  }
  void apply(std::vector<std::string>& tokens) const override {
    for (auto& token : tokens) {
      std::string_view rest = token;
      for (int64_t i = 0; i < start_ && rest.starts_with(content_); ++i) rest.remove_prefix(content_.size());
      for (int64_t i = 0; i < stop_ && rest.ends_with(content_); ++i) rest.remove_suffix(content_.size());
      token = std::string(rest);
    }
  }

 private:
  std::string content_;
  int64_t start_;
  int64_t stop_;
};

// The mark becomes a space; in the first token it goes, unless it is never put in front.
class Metaspace : public TokenDecoder {
 public:
  explicit Metaspace(const JsonNode& node) : options_(read_metaspace(node)) {}
  void apply(std::vector<std::string>& tokens) const override {
    const std::string& mark = options_.replacement;
    for (size_t t = 0; t < tokens.size(); ++t) {
      const bool drop = t == 0 && options_.prepend != MetaspaceOptions::Prepend::kNever;
      std::string out;
      size_t copied = 0;
      for (size_t at = tokens[t].find(mark); at != std::string::npos; at = tokens[t].find(mark, copied)) {
        out.append(tokens[t], copied, at - copied);
        if (!drop) out += ' ';
        copied = at + mark.size();
      }
      out.append(tokens[t], copied);
      tokens[t] = std::move(out);
    }
  }

 private:
  MetaspaceOptions options_;
};

class Sequence : public TokenDecoder {
 public:
  explicit Sequence(const JsonNode& node) {
    for (const auto& item : node.at("decoders").items()) parts_.push_back(make_token_decoder(item));
    node.note_other_fields({"type", "decoders"});
  }
  void apply(std::vector<std::string>& tokens) const override {
    for (const auto& part : parts_) part->apply(tokens);
  }

 private:
  std::vector<std::unique_ptr<TokenDecoder>> parts_;
};

}  // namespace

std::unique_ptr<TokenDecoder> make_token_decoder(const JsonNode& node) {
  const std::string type = node.text("type");
  if (type == "ByteLevel") return std::make_unique<ByteLevel>();
  if (type == "Replace") return std::make_unique<Replace>(node);
  if (type == "ByteFallback") return std::make_unique<ByteFallback>();
  if (type == "Fuse") return std::make_unique<Fuse>();
  if (type == "Strip") return std::make_unique<Strip>(node);
  if (type == "Metaspace") return std::make_unique<Metaspace>(node);
  if (type == "Sequence") return std::make_unique<Sequence>(node);
  fail_unknown_component(node, "decoder", type,
                         {"ByteLevel", "Replace", "ByteFallback", "Fuse", "Strip", "Metaspace", "Sequence"});
}

}  // namespace fare
