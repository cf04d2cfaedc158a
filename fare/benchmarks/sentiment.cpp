#include "fare/benchmarks/sentiment.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "fare/benchmarks/fixture.h"
#include "fare/benchmarks/unicode_case.h"
#include "fare/benchmarks/unicode_text.h"
#include "fare/core/error.h"
#include "fare/core/file.h"

namespace fare {
namespace {

// Constants of the published rules.
constexpr double kBooster = 0.293, kCapitals = 0.733, kNegation = -0.74, kNormaliser = 15;
constexpr double kDamping[] = {1, 0.95, 0.9};  // of a booster one, two, three words back
constexpr double kNever = 1.25, kBeforeBut = 0.5, kAfterBut = 1.5;
constexpr double kExclamation = 0.292, kQuestion = 0.18, kManyQuestions = 0.96;
constexpr int kMostExclamations = 4;

// As Python's round(): the nearest decimal of the exact value.
double rounded(double value, int decimals) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*f", decimals, value);
  return std::strtod(buffer, nullptr);
}

double emphasis(std::string_view text) {
  const auto exclamations = static_cast<int>(std::count(text.begin(), text.end(), '!'));
  const auto questions = static_cast<int>(std::count(text.begin(), text.end(), '?'));
  double sum = std::min(exclamations, kMostExclamations) * kExclamation;
  if (questions > 1) sum += questions <= 3 ? questions * kQuestion : kManyQuestions;
  return sum;
}

// Halves what stands before the first "but" and raises what stands after it. The published program looks each value up
// by its first occurrence in the list it is changing, so equal values are not always told apart; kept as it is.
void weigh_but(const std::vector<std::string>& lower, std::vector<double>& values) {
  const auto but = std::find(lower.begin(), lower.end(), "but");
  if (but == lower.end()) return;
  const auto place = but - lower.begin();
  for (size_t i = 0; i < values.size(); ++i) {
    const double value = values[i];
    const auto first = std::find(values.begin(), values.end(), value);
    if (first - values.begin() < place) *first = value * kBeforeBut;
    else if (first - values.begin() > place) *first = value * kAfterBut;
  }
}

}  // namespace

struct SentimentLexicon::Word {
  std::string text, lower;
  bool is_upper = false;
};

const DataFile& SentimentLexicon::words_file() {
  static const DataFile file{"lexicons/vader/vader_lexicon.txt",
                             {"vaderSentiment/vader_lexicon.txt", "vader_lexicon.txt"},
                             "ec636f884f36b5de6a4d681b2f61c08c2ec90eeb440472033f3307d0d6fa8bc9",
                             7520,
                             "MIT"};
  return file;
}

const DataFile& SentimentLexicon::emoji_file() {
  static const DataFile file{"lexicons/vader/emoji_utf8_lexicon.txt",
                             {"vaderSentiment/emoji_utf8_lexicon.txt", "emoji_utf8_lexicon.txt"},
                             "25b217601fb59d4ed8f89360b719ddb4f352a40df0743f1cfb6f8150d02eb83a",
                             3570,
                             "MIT"};
  return file;
}

SentimentLexicon SentimentLexicon::load(const std::filesystem::path& data, bool accept_changed_data) {
  const LoadedFile words = load_data_file(words_file(), data, accept_changed_data);
  const LoadedFile emoji = load_data_file(emoji_file(), data, accept_changed_data);
  return parse(words.content, words.path, emoji.content, emoji.path);
}

SentimentLexicon SentimentLexicon::parse(std::string_view words, const std::string& words_path, std::string_view emoji,
                                         const std::string& emoji_path) {
  SentimentLexicon lexicon;
  for_each_line(words, [&](std::string_view line, size_t number) {
    if (strip(line).empty()) return;
    const std::string where = "line " + std::to_string(number);
    const size_t tab = line.find('\t');
    if (tab == std::string_view::npos || tab == 0)
      throw FormatError(words_path, where, "expected a token, a tab and its mean valence");
    const std::string_view rest = line.substr(tab + 1);
    const std::string_view number_text = rest.substr(0, rest.find('\t'));
    double value = 0;
    const auto [end, code] = std::from_chars(number_text.data(), number_text.data() + number_text.size(), value);
    if (code != std::errc() || end != number_text.data() + number_text.size())
      throw FormatError(words_path, where, "the mean valence '" + std::string(number_text) + "' is no number");
    lexicon.valence_[std::string(line.substr(0, tab))] = value;
  });
  if (lexicon.valence_.empty()) throw FormatError(words_path, "", "the lexicon holds no word");
  for_each_line(emoji, [&](std::string_view line, size_t number) {
    if (strip(line).empty()) return;
    const size_t tab = line.find('\t');
    if (tab == std::string_view::npos || tab == 0)
      throw FormatError(emoji_path, "line " + std::to_string(number), "expected an emoji, a tab and its description");
    lexicon.emoji_[std::string(line.substr(0, tab))] = std::string(strip(line.substr(tab + 1)));
  });
  const OrderedJson& rules = json_fixture("vader_rules.json");
  for (const auto& word : rules.at("boosters_increase")) lexicon.boosters_[word] = kBooster;
  for (const auto& word : rules.at("boosters_decrease")) lexicon.boosters_[word] = -kBooster;
  for (const auto& word : rules.at("negations")) lexicon.negations_.insert(word.get<std::string>());
  for (const auto& [phrase, value] : rules.at("special_phrases").items()) lexicon.phrases_[phrase] = value;
  return lexicon;
}

double SentimentLexicon::booster(const Word& word, double valence, bool mixed_case) const {
  const auto found = boosters_.find(word.lower);
  if (found == boosters_.end()) return 0;
  double value = valence < 0 ? -found->second : found->second;
  if (word.is_upper && mixed_case) value += valence > 0 ? kCapitals : -kCapitals;
  return value;
}

double SentimentLexicon::negated(const std::vector<Word>& words, size_t i, size_t distance, double valence) const {
  const auto back = [&](size_t steps) -> const std::string& { return words[i - steps].lower; };
  const auto so_or_this = [](const std::string& word) { return word == "so" || word == "this"; };
  const bool negation = negations_.contains(back(distance)) || back(distance).find("n't") != std::string::npos;
  if (distance == 2) {
    if (back(2) == "never" && so_or_this(back(1))) return valence * kNever;
    if (back(2) == "without" && back(1) == "doubt") return valence;
  }
  if (distance == 3) {
    if ((back(3) == "never" && so_or_this(back(2))) || so_or_this(back(1))) return valence * kNever;
    if (back(3) == "without" && (back(2) == "doubt" || back(1) == "doubt")) return valence;
  }
  return negation ? valence * kNegation : valence;
}

double SentimentLexicon::with_phrases(const std::vector<Word>& words, size_t i, double valence) const {
  // The words from `from` to `to` positions relative to i, joined by single spaces.
  const auto phrase = [&](int from, int to) {
    std::string joined;
    for (int k = from; k <= to; ++k)
      joined += (k == from ? "" : " ") + words[static_cast<size_t>(static_cast<int>(i) + k)].lower;
    return joined;
  };
  for (const auto& [from, to] : {std::pair{-1, 0}, {-2, 0}, {-2, -1}, {-3, -1}, {-3, -2}}) {
    const auto found = phrases_.find(phrase(from, to));
    if (found == phrases_.end()) continue;
    valence = found->second;
    break;
  }
  for (const int to : {1, 2}) {
    if (i + static_cast<size_t>(to) >= words.size()) continue;
    const auto found = phrases_.find(phrase(0, to));
    if (found != phrases_.end()) valence = found->second;
  }
  for (const auto& [from, to] : {std::pair{-3, -1}, {-3, -2}, {-2, -1}}) {
    const auto found = boosters_.find(phrase(from, to));
    if (found != boosters_.end()) valence += found->second;
  }
  return valence;
}

double SentimentLexicon::valence_of(const std::vector<Word>& words, size_t i, bool mixed_case) const {
  const Word& word = words[i];
  const auto found = valence_.find(word.lower);
  if (boosters_.contains(word.lower) || found == valence_.end()) return 0;
  if (word.lower == "kind" && i + 1 < words.size() && words[i + 1].lower == "of") return 0;
  const auto is_no = [&](size_t steps) { return i >= steps && words[i - steps].lower == "no"; };
  double valence = found->second;
  if (word.lower == "no" && i + 1 < words.size() && valence_.contains(words[i + 1].lower)) valence = 0;
  if (is_no(1) || is_no(2) || (is_no(3) && (words[i - 1].lower == "or" || words[i - 1].lower == "nor")))
    valence = found->second * kNegation;
  if (word.is_upper && mixed_case) valence += valence > 0 ? kCapitals : -kCapitals;
  for (size_t distance = 1; distance <= 3; ++distance) {
    if (i < distance || valence_.contains(words[i - distance].lower)) continue;
    valence += booster(words[i - distance], valence, mixed_case) * kDamping[distance - 1];
    valence = negated(words, i, distance, valence);
    if (distance == 3) valence = with_phrases(words, i, valence);
  }
  const bool least = i > 0 && words[i - 1].lower == "least" && !valence_.contains("least");
  const bool at_or_very = i > 1 && (words[i - 2].lower == "at" || words[i - 2].lower == "very");
  return least && !at_or_very ? valence * kNegation : valence;
}

Sentiment SentimentLexicon::score(std::string_view text) const {
  std::string spelled;
  bool after_space = true;
  for (size_t at = 0; at < text.size();) {
    const std::string_view one = text.substr(at, code_point_at(text, at).num_bytes);
    at += one.size();
    const auto found = emoji_.find(std::string(one));
    if (found != emoji_.end()) {
      spelled += (after_space ? "" : " ") + found->second;
      after_space = false;
    } else {
      spelled += one;
      after_space = one == " ";
    }
  }
  spelled = std::string(strip(spelled));

  std::vector<Word> words;
  std::vector<std::string> lower;
  size_t num_upper = 0;
  for (const std::string& token : split_at_space(spelled)) {
    const std::string_view bare = strip_punctuation(token);
    Word word;
    word.text = count_code_points(bare) <= 2 ? token : std::string(bare);
    word.lower = lower_text(word.text);
    word.is_upper = is_upper_text(word.text);
    num_upper += word.is_upper ? 1 : 0;
    lower.push_back(word.lower);
    words.push_back(std::move(word));
  }
  if (words.empty()) return {};
  const bool mixed_case = num_upper > 0 && num_upper < words.size();
  std::vector<double> values;
  for (size_t i = 0; i < words.size(); ++i) values.push_back(valence_of(words, i, mixed_case));
  weigh_but(lower, values);

  double sum = 0, positive = 0, negative = 0, neutral = 0;
  for (const double value : values) {
    sum += value;
    if (value > 0) positive += value + 1;
    else if (value < 0) negative += value - 1;
    else neutral += 1;
  }
  const double extra = emphasis(spelled);
  if (sum > 0) sum += extra;
  else if (sum < 0) sum -= extra;
  if (positive > std::fabs(negative)) positive += extra;
  else if (positive < std::fabs(negative)) negative -= extra;
  const double total = positive + std::fabs(negative) + neutral;
  Sentiment sentiment;
  sentiment.negative = rounded(std::fabs(negative / total), 3);
  sentiment.neutral = rounded(std::fabs(neutral / total), 3);
  sentiment.positive = rounded(std::fabs(positive / total), 3);
  sentiment.compound = rounded(std::clamp(sum / std::sqrt(sum * sum + kNormaliser), -1.0, 1.0), 4);
  return sentiment;
}

}  // namespace fare
