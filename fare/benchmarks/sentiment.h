// Sentiment of a short text by the rules of VADER (Hutto and Gilbert 2014); the lexicon is read at run time.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "fare/benchmarks/data_file.h"

namespace fare {

// Shares of the text (three decimals, sum about 1; all 0 for a text without words) and the compound score in [-1, 1]
// (four decimals). The authors call a compound of at least 0.05 positive and of at most -0.05 negative; BOLD's paper
// uses 0.5.
struct Sentiment {
  double negative = 0, neutral = 0, positive = 0;
  double compound = 0;
};

class SentimentLexicon {
 public:
  static const DataFile& words_file();  // lexicons/vader/vader_lexicon.txt
  static const DataFile& emoji_file();  // lexicons/vader/emoji_utf8_lexicon.txt

  // From the data folder and the rule word lists in share/fare/fixtures/vader_rules.json. A token that is listed twice
  // has its last value. Throws IoError, FormatError.
  static SentimentLexicon load(const std::filesystem::path& data, bool accept_changed_data = false);
  // From the content of the two files; `path`s name them in errors.
  static SentimentLexicon parse(std::string_view words, const std::string& words_path, std::string_view emoji,
                                const std::string& emoji_path);

  Sentiment score(std::string_view text) const;
  size_t num_words() const { return valence_.size(); }
  size_t num_emoji() const { return emoji_.size(); }

 private:
  struct Word;  // one token of a text

  double valence_of(const std::vector<Word>& words, size_t i, bool mixed_case) const;
  double booster(const Word& word, double valence, bool mixed_case) const;
  double negated(const std::vector<Word>& words, size_t i, size_t distance, double valence) const;
  double with_phrases(const std::vector<Word>& words, size_t i, double valence) const;

  std::unordered_map<std::string, double> valence_;
  std::unordered_map<std::string, std::string> emoji_;  // one code point -> its description
  std::unordered_map<std::string, double> boosters_, phrases_;
  std::unordered_set<std::string> negations_;
};

}  // namespace fare
