#include "fare/tokenizer/nfc.h"

#include <unicode/normalizer2.h>
#include <unicode/stringpiece.h>

#include <algorithm>
#include <optional>

#include "fare/core/error.h"
#include "fare/tokenizer/unicode.h"

namespace fare {
namespace {

const icu::Normalizer2& nfc() {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* instance = icu::Normalizer2::getNFCInstance(status);
  FARE_CHECK(U_SUCCESS(status) && instance != nullptr, "ICU has no NFC data");
  return *instance;
}

struct Part {
  UChar32 c = 0;
  int change = 0;  // as RewrittenCharacter
  uint8_t combining_class = 0;
};

bool known_to_reference(UChar32 c) {
  UVersionInfo age;
  u_charAge(c, age);
  return age[0] != 0 && age[0] <= 9;
}

void push(std::vector<Part>& parts, const icu::Normalizer2& normalizer, UChar32 c, int change) {
  parts.push_back({c, change, known_to_reference(c) ? normalizer.getCombiningClass(c) : uint8_t{0}});
}

std::vector<Part> decompose(std::string_view text, const icu::Normalizer2& normalizer) {
  std::vector<Part> parts;
  parts.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<UChar32>(next_code_point(text, i));
    icu::UnicodeString spelled;
    if (c >= 0xC0 && known_to_reference(c) && normalizer.getDecomposition(c, spelled)) {
      for (int32_t k = 0; k < spelled.length(); k = spelled.moveIndex32(k, 1))
        push(parts, normalizer, spelled.char32At(k), k == 0 ? 0 : 1);
    } else {
      push(parts, normalizer, c, 0);
    }
  }
  // Canonical order: runs of non-starters sorted by class, equal classes in the order of the text.
  for (size_t i = 0; i < parts.size();) {
    if (parts[i].combining_class == 0) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < parts.size() && parts[end].combining_class != 0) ++end;
    std::stable_sort(parts.begin() + static_cast<std::ptrdiff_t>(i), parts.begin() + static_cast<std::ptrdiff_t>(end),
                     [](const Part& a, const Part& b) { return a.combining_class < b.combining_class; });
    i = end;
  }
  return parts;
}

std::optional<UChar32> composed(const icu::Normalizer2& normalizer, UChar32 first, UChar32 second) {
  const UChar32 c = normalizer.composePair(first, second);
  if (c < 0 || !known_to_reference(c)) return std::nullopt;
  return c;
}

}  // namespace

void normalize_nfc(AlignedText& text) {
  const icu::Normalizer2& normalizer = nfc();
  UErrorCode status = U_ZERO_ERROR;
  const icu::StringPiece bytes(text.text.data(), static_cast<int32_t>(text.text.size()));
  if (normalizer.isNormalizedUTF8(bytes, status) && U_SUCCESS(status)) return;

  const std::vector<Part> parts = decompose(text.text, normalizer);
  std::vector<RewrittenCharacter> out;
  out.reserve(parts.size());
  std::optional<size_t> starter;  // index in `out` of the last starter
  uint8_t last_class = 0;         // of what stands between the starter and here; 0 = nothing
  for (const Part& part : parts) {
    const bool blocked = last_class != 0 && last_class >= part.combining_class;
    if (starter && !blocked) {
      RewrittenCharacter& base = out[*starter];
      if (const auto joined = composed(normalizer, static_cast<UChar32>(base.code_point), part.c)) {
        base.code_point = static_cast<char32_t>(*joined);
        base.change += part.change - 1;
        continue;
      }
    }
    if (part.combining_class == 0) starter = out.size();
    last_class = part.combining_class;
    out.push_back({static_cast<char32_t>(part.c), part.change});
  }
  text.rewrite(out);
}

}  // namespace fare
