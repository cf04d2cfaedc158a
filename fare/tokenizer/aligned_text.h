// Text that changed on its way (normalised, spelled as byte letters) and still knows where each byte came from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fare {

// Bytes [begin, end) of the text a caller gave.
struct ByteRange {
  uint32_t begin = 0;
  uint32_t end = 0;
  bool operator==(const ByteRange&) const = default;
};

// One output character of a rewrite. change 0: it stands for the next input character; 1: it was inserted behind the
// one before; -n: it stands for the next input character and swallows n more.
struct RewrittenCharacter {
  char32_t code_point = 0;
  int change = 0;
};

struct AlignedText {
  std::string text;               // valid UTF-8
  std::vector<ByteRange> source;  // per byte of `text` the range it came from; stays empty where nobody asks for it
  uint32_t origin = 0;            // where this text begins in the caller's
  bool tracked = false;           // whether `source` is kept

  // A part of the caller's text that begins at `begin`.
  static AlignedText part(std::string_view text, size_t begin, bool tracked);
  // Bytes [begin, end) of this one.
  AlignedText slice(size_t begin, size_t end) const;

  // Appends `bytes`, all of them from `from` (ignored when not tracked).
  void append(std::string_view bytes, ByteRange from) {
    text.append(bytes);
    if (tracked) source.insert(source.end(), bytes.size(), from);
  }
  // Appends bytes [begin, end) of `other`, with their sources.
  void append(const AlignedText& other, size_t begin, size_t end) {
    text.append(other.text, begin, end - begin);
    if (tracked)
      source.insert(source.end(), other.source.begin() + static_cast<std::ptrdiff_t>(begin),
                    other.source.begin() + static_cast<std::ptrdiff_t>(end));
  }
  // Where byte `at` came from; the empty range at the origin when not tracked.
  ByteRange source_of(size_t at) const { return tracked ? source[at] : ByteRange{origin, origin}; }
  // What is inserted before byte `at` is counted to the character before it; at the very start to the empty range
  // there.
  ByteRange source_before(size_t at) const { return at == 0 ? ByteRange{origin, origin} : source_of(at - 1); }

  void rewrite(const std::vector<RewrittenCharacter>& characters);
};

}  // namespace fare
