#include "fare/tokenizer/sentencepiece_normalizer.h"

#include "fare/core/error.h"
#include "fare/tokenizer/byte_trie.h"
#include "fare/tokenizer/unicode.h"

namespace fare {
namespace {

constexpr std::string_view kMark = "\xE2\x96\x81";  // ▁

// The compiled replacements: the size of a double-array trie (32 bits, little-endian), the trie, then the replacing
// texts with a zero byte behind each. A unit of the trie holds: bits 0-7 and 31 its label, bit 8 whether a value
// follows, bits 10-30 (times 256 where bit 9 is set) the offset to its children; a value unit holds where its text
// begins. Source: the darts-clone format (BSD-licensed library, its README) as SentencePiece embeds it.
class CharacterMap {
 public:
  CharacterMap(const std::string& blob, const std::string& path) {
    if (blob.empty()) return;
    const auto damaged = [&](const std::string& what) -> void {
      throw FormatError(path, "normalizer_spec.precompiled_charsmap", what + "; the file looks damaged");
    };
    const auto word = [&](size_t at) {
      uint32_t value = 0;
      for (size_t i = 0; i < 4; ++i) value |= uint32_t{static_cast<unsigned char>(blob[at + i])} << (8 * i);
      return value;
    };
    if (blob.size() < 4) damaged("the map has " + std::to_string(blob.size()) + " bytes");
    const size_t trie_bytes = word(0);
    if (trie_bytes == 0 || trie_bytes % 4 != 0 || trie_bytes > blob.size() - 4)
      damaged("a trie of " + std::to_string(trie_bytes) + " bytes in a map of " + std::to_string(blob.size()));
    units_.resize(trie_bytes / 4);
    for (size_t i = 0; i < units_.size(); ++i) units_[i] = word(4 + 4 * i);
    texts_ = blob.substr(4 + trie_bytes);
    if (texts_.empty() || texts_.back() != '\0') damaged("the replacing texts do not end with a zero byte");
    if (first_invalid_utf8(texts_)) damaged("the replacing texts are not UTF-8");
  }

  // The longest entry that `text` begins with and its replacement; 0 when there is none.
  size_t longest(std::string_view text, std::string_view& replacement) const {
    size_t length = 0;
    if (units_.empty()) return length;
    size_t node = offset(units_[0]);
    for (size_t i = 0; i < text.size(); ++i) {
      const auto byte = static_cast<unsigned char>(text[i]);
      node ^= byte;
      if (node >= units_.size() || label(units_[node]) != byte) break;
      const bool has_value = (units_[node] >> 8 & 1) != 0;
      node ^= offset(units_[node]);
      if (!has_value) continue;
      if (node >= units_.size()) break;
      const size_t begin = units_[node] & 0x7FFFFFFF;
      if (begin >= texts_.size()) break;
      length = i + 1;
      replacement = std::string_view(texts_).substr(begin, texts_.find('\0', begin) - begin);
    }
    return length;
  }

 private:
  static size_t offset(uint32_t unit) { return static_cast<size_t>(unit >> 10) << ((unit & 1u << 9) >> 6); }
  static uint32_t label(uint32_t unit) { return unit & (1u << 31 | 0xFF); }

  std::vector<uint32_t> units_;
  std::string texts_;
};

class SentencePieceNormalizer : public TextNormalizer {
 public:
  SentencePieceNormalizer(const SentencePieceFile& file, const std::string& path)
      : map_(file.character_map, path),
        prefix_(file.add_dummy_prefix && !file.space_as_suffix),
        suffix_(file.add_dummy_prefix && file.space_as_suffix),
        remove_extra_(file.remove_extra_spaces),
        space_(file.escape_spaces ? kMark : " ") {
    for (size_t id = 0; id < file.pieces.size(); ++id)
      if (file.pieces[id].kind == SentencePieceFile::Kind::kUserDefined)
        user_defined_.add(file.pieces[id].text, static_cast<int32_t>(id));
  }

  void apply(AlignedText& text) const override {
    AlignedText out;
    out.tracked = text.tracked;
    out.origin = text.origin;
    out.text.reserve(text.text.size() + text.text.size() / 2 + kMark.size());
    const std::string_view all = text.text;
    const auto edge = [&](uint32_t at) { return ByteRange{at, at}; };
    bool after_space = remove_extra_;
    bool begun = false;
    for (size_t at = 0; at < all.size();) {
      std::string_view part;
      const size_t length = next_part(all.substr(at), part);
      // At the beginning only parts that are one single space go; later every space behind another one.
      if (begun || !remove_extra_ || part != " ") {
        if (!begun && prefix_) out.append(space_, edge(text.source_of(at).begin));
        begun = true;
        while (after_space && part.starts_with(' ')) part.remove_prefix(1);
        append(out, part, text, at, length);
        if (part.empty()) widen_last(out, text.source_of(at + length - 1).end);
        if (!part.empty()) after_space = remove_extra_ && part.ends_with(' ');
      }
      at += length;
    }
    if (remove_extra_)
      while (out.text.ends_with(space_)) {
        out.text.resize(out.text.size() - space_.size());
        if (out.tracked) out.source.resize(out.text.size());
      }
    if (begun && suffix_)
      out.append(space_, edge(out.text.empty() ? text.origin : out.source_before(out.text.size()).end));
    text = std::move(out);
  }

 private:
  // What the beginning of `text` becomes; returns how many of its bytes that is.
  size_t next_part(std::string_view text, std::string_view& part) const {
    size_t length = 0;
    user_defined_.for_each_prefix(text, [&](size_t found, int32_t) { length = found; });
    if (length == 0) {
      length = map_.longest(text, part);
      if (length > 0) return length;
      length = utf8_length(text[0]);
    }
    part = text.substr(0, length);
    return length;
  }

  // Appends `part`, which bytes [at, at + length) of `from` have become; characters of an unchanged part keep their own
  // places.
  void append(AlignedText& out, std::string_view part, const AlignedText& from, size_t at, size_t length) const {
    const std::string_view old = std::string_view(from.text).substr(at, length);
    const bool unchanged = part == old;
    const ByteRange whole{from.source_of(at).begin, from.source_of(at + length - 1).end};
    for (size_t i = 0; i < part.size();) {
      const size_t character = utf8_length(part[i]);
      out.append(part[i] == ' ' ? space_ : part.substr(i, character), unchanged ? from.source_of(at + i) : whole);
      i += character;
    }
  }

  // What went from the text belongs to the character before it.
  static void widen_last(AlignedText& out, uint32_t end) {
    if (out.source.empty()) return;
    const uint32_t begin = out.source.back().begin;
    for (size_t i = out.source.size(); i > 0 && out.source[i - 1].begin == begin; --i) out.source[i - 1].end = end;
  }

  CharacterMap map_;
  ByteTrie user_defined_;
  bool prefix_;
  bool suffix_;
  bool remove_extra_;
  std::string_view space_;
};

}  // namespace

std::unique_ptr<TextNormalizer> make_sentencepiece_normalizer(const SentencePieceFile& file, const std::string& path) {
  return std::make_unique<SentencePieceNormalizer>(file, path);
}

}  // namespace fare
