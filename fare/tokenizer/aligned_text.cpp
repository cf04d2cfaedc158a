#include "fare/tokenizer/aligned_text.h"

#include "fare/tokenizer/unicode.h"

namespace fare {

AlignedText AlignedText::part(std::string_view text, size_t begin, bool tracked) {
  AlignedText part;
  part.text = text;
  part.origin = static_cast<uint32_t>(begin);
  part.tracked = tracked;
  if (tracked) {
    part.source.reserve(text.size());
    for (size_t i = 0; i < text.size();) {
      const size_t length = utf8_length(text[i]);
      const auto from = static_cast<uint32_t>(begin + i);
      part.source.insert(part.source.end(), length, ByteRange{from, from + static_cast<uint32_t>(length)});
      i += length;
    }
  }
  return part;
}

AlignedText AlignedText::slice(size_t begin, size_t end) const {
  AlignedText part;
  part.tracked = tracked;
  part.append(*this, begin, end);
  part.origin = part.source.empty() ? origin : part.source.front().begin;
  return part;
}

void AlignedText::rewrite(const std::vector<RewrittenCharacter>& characters) {
  AlignedText out;
  out.tracked = tracked;
  out.origin = origin;
  out.text.reserve(text.size());
  size_t at = 0;  // next input byte
  std::string spelled;
  for (const auto& [code_point, change] : characters) {
    const ByteRange from = change > 0 ? source_before(at) : at < text.size() ? source_of(at) : source_before(at);
    for (int taken = change; taken <= 0 && at < text.size(); ++taken) at += utf8_length(text[at]);
    spelled.clear();
    append_utf8(spelled, code_point);
    out.append(spelled, from);
  }
  *this = std::move(out);
}

}  // namespace fare
