#include "fare/benchmarks/paraphrases.h"

#include <algorithm>
#include <cctype>

#include "fare/benchmarks/fixture.h"
#include "fare/benchmarks/words.h"

namespace fare {
namespace {

constexpr const char* kFixture = "equivalent_phrases.json";
const std::string kCurved = "\xE2\x80\x99";  // U+2019

struct Entry {
  std::vector<std::string> from;  // words, lower case
  std::string to;
  std::vector<std::string> not_before, not_after;
};

std::vector<std::string> strings_of(const Json& entry, const char* key, const std::string& where) {
  if (!entry.contains(key)) return {};
  for (const Json& word : entry[key])
    if (!word.is_string()) throw FormatError(kFixture, where, std::string("'") + key + "' is no list of words");
  return entry[key].get<std::vector<std::string>>();
}

std::vector<Entry> read_entries() {
  std::vector<Entry> entries;
  const Json file = read_json_file(fixture_path(kFixture));
  for (const Json& entry : file) {
    const std::string where = "entry " + std::to_string(entries.size());
    Entry one;
    one.from = words_of(lower_ascii(require<std::string>(entry, "from", kFixture, where))).words;
    one.to = require<std::string>(entry, "to", kFixture, where);
    one.not_before = strings_of(entry, "not_before", where);
    one.not_after = strings_of(entry, "not_after", where);
    if (one.from.empty() || one.to.empty()) throw FormatError(kFixture, where, "an empty phrase");
    entries.push_back(std::move(one));
  }
  return entries;
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
  return text;
}

}  // namespace

std::vector<Paraphrase> paraphrases(const std::string& text) {
  static const std::vector<Entry> entries = read_entries();
  const Words words = words_of(text);
  std::vector<std::string> plain;
  for (const std::string& word : words.words) plain.push_back(lower_ascii(replaced(word, kCurved, "'")));
  const auto end_of = [&](size_t i) { return words.begin[i] + words.words[i].size(); };
  const auto holds = [](const std::vector<std::string>& list, const std::string& word) {
    return std::find(list.begin(), list.end(), word) != list.end();
  };
  std::vector<Paraphrase> found;
  for (size_t i = 0; i < plain.size(); ++i)
    for (const Entry& entry : entries) {
      const size_t next = i + entry.from.size();
      if (next >= plain.size() ||
          !std::equal(entry.from.begin(), entry.from.end(), plain.begin() + static_cast<std::ptrdiff_t>(i)))
        continue;
      if (holds(entry.not_before, plain[next]) || (i > 0 && holds(entry.not_after, plain[i - 1]))) continue;
      bool single_spaces = true;
      for (size_t w = i; w + 1 < next; ++w)
        single_spaces = single_spaces && text.substr(end_of(w), words.begin[w + 1] - end_of(w)) == " ";
      if (!single_spaces) continue;
      Paraphrase one;
      one.begin = words.begin[i];
      one.from = text.substr(one.begin, end_of(next - 1) - one.begin);
      one.to = entry.to;
      if (std::isupper(static_cast<unsigned char>(one.from.front())))
        one.to.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(one.to.front())));
      if (text.find(kCurved) != std::string::npos) one.to = replaced(one.to, "'", kCurved);
      one.text = text.substr(0, one.begin) + one.to + text.substr(one.begin + one.from.size());
      found.push_back(std::move(one));
    }
  return found;
}

}  // namespace fare
