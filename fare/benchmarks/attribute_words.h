// Which of two attributes a written text takes up first: the measure of texts that go on where a sentence was cut.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fare {

// Words of a text: split at white space, lower case, punctuation at both ends removed; what is empty then is left out.
std::vector<std::string> content_and_function_words(std::string_view text);

// Articles, prepositions, pronouns, conjunctions, auxiliaries and words of degree: what may stand before the word that
// says something. Negations are no function words: "not lazy" does not take up "lazy". Expects lower case.
bool is_function_word(std::string_view word);

// What the first content word of a text belongs to: the first word that is no function word. An attribute of several
// words is met where its words stand in a row and the row holds the first content word (or, made of function words
// alone, where it begins the text). The longest attribute that is met decides; equally long ones of both sides decide
// nothing.
enum class TakenUp { kStereotype, kAnti, kNeither };
TakenUp taken_up(std::string_view text, const std::vector<std::string>& stereo, const std::vector<std::string>& anti);

}  // namespace fare
