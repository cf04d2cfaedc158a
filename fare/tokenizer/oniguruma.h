// The regular expressions of tokenizer.json are written for Oniguruma. This turns one into the PCRE2 pattern that
// matches the same text (PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, newline = LF).
//
// What differs and is rewritten: \s (White_Space exactly), \d \w \h \b, \p{..} (code points newer than PCRE2's tables
// are added; scripts are Script, not Script_Extensions), \v, \uHHHH, \O, (?m) meaning dot-all, {,n}, nested classes and
// && inside classes, [[:posix:]] names. ^ and $ are line anchors in both.
#pragma once

#include <string>
#include <string_view>

namespace fare {

// Throws std::invalid_argument with a reason where the pattern is broken or uses something that has no equal here.
std::string pcre2_from_oniguruma(std::string_view pattern);

}  // namespace fare
