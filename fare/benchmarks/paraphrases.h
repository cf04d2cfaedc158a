// Sentences that say the same in other words: one phrase exchanged for an equivalent one ("don't" for "do not").
#pragma once

#include <string>
#include <vector>

namespace fare {

struct Paraphrase {
  std::string text;      // the whole sentence
  size_t begin = 0;      // byte offset of what was exchanged, in the original
  std::string from, to;  // as they stand in the two sentences
};

// Every sentence that one entry of share/fare/fixtures/equivalent_phrases.json gives, in the order of the text, then of
// the file. An entry fits where its words stand, letter case aside, with single spaces between, a word follows, and no
// word of its `not_before` stands next or of its `not_after` before. A capital at its beginning and a curved apostrophe
// are kept. Empty where nothing fits. Throws IoError or FormatError when the fixture is missing or broken.
std::vector<Paraphrase> paraphrases(const std::string& text);

}  // namespace fare
