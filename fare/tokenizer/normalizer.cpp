#include "fare/tokenizer/normalizer.h"

#include "fare/tokenizer/nfc.h"
#include "fare/tokenizer/text_pattern.h"
#include "fare/tokenizer/unicode.h"

namespace fare {
namespace {

class Nfc : public TextNormalizer {
 public:
  void apply(AlignedText& text) const override { normalize_nfc(text); }
};

class Prepend : public TextNormalizer {
 public:
  explicit Prepend(const JsonNode& node) : prefix_(node.text("prepend")) {
    node.note_other_fields({"type", "prepend"});
  }

  void apply(AlignedText& text) const override {
    if (text.text.empty()) return;
    const ByteRange first = text.source_of(0);
    text.text.insert(0, prefix_);
    if (text.tracked) text.source.insert(text.source.begin(), prefix_.size(), first);
  }

 private:
  std::string prefix_;
};

class Replace : public TextNormalizer {
 public:
  explicit Replace(const JsonNode& node) : pattern_(node.at("pattern")), content_(node.text("content")) {
    node.note_other_fields({"type", "pattern", "content"});
  }

  void apply(AlignedText& text) const override {
    AlignedText out;
    out.tracked = text.tracked;
    out.origin = text.origin;
    size_t copied = 0;
    bool found = false;
    TextPattern::Matcher matcher(pattern_);
    matcher.for_each_match(text.text, [&](size_t begin, size_t end) {
      if (!found) out.text.reserve(text.text.size() + text.text.size() / 2);
      found = true;
      out.append(text, copied, begin);
      out.append(content_, text.source_before(end));
      copied = end;
    });
    if (!found) return;
    out.append(text, copied, text.text.size());
    text = std::move(out);
  }

 private:
  TextPattern pattern_;
  std::string content_;
};

class Sequence : public TextNormalizer {
 public:
  explicit Sequence(const JsonNode& node) {
    for (const auto& item : node.at("normalizers").items()) parts_.push_back(make_normalizer(item));
    node.note_other_fields({"type", "normalizers"});
  }
  void apply(AlignedText& text) const override {
    for (const auto& part : parts_) part->apply(text);
  }

 private:
  std::vector<std::unique_ptr<TextNormalizer>> parts_;
};

}  // namespace

std::unique_ptr<TextNormalizer> make_normalizer(const JsonNode& node) {
  const std::string type = node.text("type");
  if (type == "NFC") return std::make_unique<Nfc>();
  if (type == "Prepend") return std::make_unique<Prepend>(node);
  if (type == "Replace") return std::make_unique<Replace>(node);
  if (type == "Sequence") return std::make_unique<Sequence>(node);
  fail_unknown_component(node, "normalizer", type, {"NFC", "Prepend", "Replace", "Sequence"});
}

}  // namespace fare
