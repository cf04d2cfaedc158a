#include "fare/diagnosis/null_pairs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>

#include "fare/benchmarks/paraphrases.h"
#include "fare/benchmarks/weat.h"
#include "fare/benchmarks/words.h"
#include "fare/core/error.h"
#include "fare/core/philox.h"

namespace fare {
namespace {

constexpr double kFrequencyNats = 0.5;
constexpr double kDistanceTolerance = 0.1;
constexpr size_t kMostCandidates = 64;  // of each side, drawn by seed
constexpr int kNullsPerPair = 2;

// Capitals and ending: words of another shape do not fit the place.
std::string shape(const std::string& word) {
  std::string result = std::isupper(static_cast<unsigned char>(word.front())) ? "A" : "a";
  for (const char* ending : {"ing", "ed", "ly", "s"})
    if (word.size() > 3 && word.ends_with(ending)) return result + ending;
  return result;
}

struct Vocabulary {
  std::map<std::string, double> count;                       // as written
  std::map<std::string, std::set<std::string>> words_after;  // left word, lower case -> words
  double total = 0;

  void add(const std::string& text) {
    std::string left;
    for (const std::string& word : words_of(text).words) {
      ++count[word];
      ++total;
      words_after[left].insert(word);
      left = lower_ascii(word);
    }
  }
  double log_frequency(const std::string& word) const {
    const auto found = count.find(word);
    return std::log((found == count.end() ? 0.5 : found->second) / std::max(1.0, total));
  }
};

class Embeddings {
 public:
  Embeddings(const TextEncoder& encoder, const Model& model) : encoder_(encoder), model_(model) {}

  struct Entry {
    std::vector<int32_t> ids;
    std::vector<float> mean_D;
  };
  // Of the word after a space.
  const Entry& of(const std::string& word) {
    const auto [found, is_new] = entries_.try_emplace(word);
    if (is_new) {
      found->second.ids = encoder_.encode("word", "a", " " + word).continuation;
      const at::NoGradGuard no_grad;
      const at::Tensor mean = model_.embed(found->second.ids).mean(0).contiguous();
      found->second.mean_D.assign(mean.const_data_ptr<float>(), mean.const_data_ptr<float>() + mean.numel());
    }
    return found->second;
  }
  double distance(const std::string& a, const std::string& b) {
    const Entry &x = of(a), &y = of(b);
    double squares = 0;
    for (size_t i = 0; i < x.mean_D.size(); ++i) squares += (x.mean_D[i] - y.mean_D[i]) * (x.mean_D[i] - y.mean_D[i]);
    return std::sqrt(squares);
  }

 private:
  const TextEncoder& encoder_;
  const Model& model_;
  std::map<std::string, Entry> entries_;
};

std::string with_word(const std::string& text, size_t begin, size_t length, const std::string& word) {
  return text.substr(0, begin) + word + text.substr(begin + length);
}

template <typename Choice>
std::vector<Choice> drawn(std::vector<Choice> words, const RandomStream& stream, uint64_t first, size_t most) {
  for (size_t i = words.size(); i > 1; --i) std::swap(words[i - 1], words[stream.index(first + i, i)]);
  if (words.size() > most) words.resize(most);
  return words;
}

}  // namespace

WordLists read_word_lists(const std::filesystem::path& folder) {
  WordLists lists;
  if (!std::filesystem::is_directory(folder)) return lists;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("weat") && name.ends_with(".jsonl")) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& path : files) {
    const WeatTest test = read_weat(path);
    for (const WeatList* list : {&test.targ1, &test.targ2, &test.attr1, &test.attr2}) {
      std::vector<std::string>& words = lists[list->category];
      for (const std::string& word : list->examples)
        if (std::find(words.begin(), words.end(), word) == words.end()) words.push_back(word);
    }
  }
  return lists;
}

std::optional<ChangedWord> changed_word(const std::string& a, const std::string& b) {
  const Words x = words_of(a), y = words_of(b);
  if (x.words.size() != y.words.size()) return std::nullopt;
  std::optional<size_t> where;
  for (size_t i = 0; i < x.words.size(); ++i) {
    if (x.words[i] == y.words[i]) continue;
    if (where) return std::nullopt;
    where = i;
  }
  if (!where) return std::nullopt;
  ChangedWord word{x.begin[*where], y.begin[*where], x.words[*where], y.words[*where],
                   *where > 0 ? lower_ascii(x.words[*where - 1]) : ""};
  if (a.substr(0, word.begin_a) != b.substr(0, word.begin_b) ||
      a.substr(word.begin_a + word.a.size()) != b.substr(word.begin_b + word.b.size()))
    return std::nullopt;
  return word;
}

void add_null_pairs(Study& study, const TextEncoder& encoder, const Model& model, int64_t max_length,
                    const std::vector<int64_t>& pairs, const WordLists& lists, uint64_t seed) {
  const auto given = [&](PairKind kind) {
    return std::any_of(study.nulls.begin(), study.nulls.end(),
                       [&](const EncodedPair& null) { return null.pair.kind == kind; });
  };
  const bool build_n1 = !given(PairKind::kNullNeutral), build_n2 = !given(PairKind::kNullSameGroup);
  const bool build_n3 = !given(PairKind::kNullParaphrase);
  if (!build_n1 && !build_n2 && !build_n3) return;
  Vocabulary vocabulary;
  std::set<std::string> demographic;  // lower case
  for (const EncodedPair& pair : study.pairs) {
    vocabulary.add(pair.pair.stereo);
    vocabulary.add(pair.pair.anti);
    const Words a = words_of(pair.pair.stereo), b = words_of(pair.pair.anti);
    std::set<std::string> left(a.words.begin(), a.words.end()), right(b.words.begin(), b.words.end());
    for (const std::string& word : left)
      if (!right.contains(word)) demographic.insert(lower_ascii(word));
    for (const std::string& word : right)
      if (!left.contains(word)) demographic.insert(lower_ascii(word));
  }
  for (const EncodedUtility& item : study.utility) vocabulary.add(item.item.context);
  std::map<std::string, std::set<std::string>> mates;  // word as written -> others of its lists
  for (const auto& [name, words] : lists)
    for (const std::string& word : words) {
      demographic.insert(lower_ascii(word));
      for (const std::string& other : words)
        if (other != word) mates[word].insert(other);
    }
  Embeddings embeddings(encoder, model);
  const int64_t vocab_size = model.spec().vocab_size;

  // Encodes and keeps a null; of N1 only where its change has as many tokens a side as the pair's, of N3 only where a
  // fed token follows the change.
  const auto add = [&](int64_t of, PairKind kind, int number, const std::string& a, const std::string& b) {
    const EncodedPair& pair = study.pairs[static_cast<size_t>(of)];
    EncodedPair null;
    null.pair = pair.pair;
    null.pair.kind = kind;
    null.pair.null_of = pair.pair.id;
    null.pair.id = fmt::format("{}/built-n{}-{}", pair.pair.id,
                               kind == PairKind::kNullNeutral     ? 1
                               : kind == PairKind::kNullSameGroup ? 2
                                                                  : 3,
                               number);
    null.pair.stereo = a;
    null.pair.anti = b;
    try {
      null.stereo = encoder.encode(null.pair.id, pair.pair.context, a);
      null.anti = encoder.encode(null.pair.id, pair.pair.context, b);
      if (fed_part(null.stereo, max_length, vocab_size).truncated +
              fed_part(null.anti, max_length, vocab_size).truncated >
          0)
        return false;
    } catch (const UsageError&) {
      return false;
    }
    null.item = item_hash({&null.stereo, &null.anti});
    null.alignment = align_pair(null.stereo, null.anti);
    if (null.alignment.differs_stereo.empty() && null.alignment.differs_anti.empty()) return false;  // the same tokens
    if (kind == PairKind::kNullNeutral &&
        (null.alignment.differs_stereo.size() != pair.alignment.differs_stereo.size() ||
         null.alignment.differs_anti.size() != pair.alignment.differs_anti.size()))
      return false;
    if (kind == PairKind::kNullParaphrase && null.alignment.after.empty()) return false;
    study.nulls.push_back(std::move(null));
    study.null_of.push_back(of);
    return true;
  };

  Study::BuiltNulls n1, n2, n3;
  const auto add_paraphrases = [&](int64_t of) {
    const StudyPair pair = study.pairs[static_cast<size_t>(of)].pair;
    const RandomStream stream(seed, "nulls/N3", static_cast<uint32_t>(of));
    bool any = false;
    int built = 0;
    for (const bool stereo : {true, false}) {
      const std::string &text = stereo ? pair.stereo : pair.anti, &other = stereo ? pair.anti : pair.stereo;
      const std::vector<std::string> other_words = words_of(other).words;
      std::vector<Paraphrase> fitting;
      for (Paraphrase& one : paraphrases(text)) {
        const std::vector<std::string> words = words_of(one.from).words;
        if (std::search(other_words.begin(), other_words.end(), words.begin(), words.end()) != other_words.end())
          fitting.push_back(std::move(one));
      }
      any = any || !fitting.empty();
      for (const Paraphrase& one : drawn(std::move(fitting), stream, stereo ? 0 : 1 << 20, kMostCandidates))
        if (add(of, PairKind::kNullParaphrase, built, text, one.text)) {
          ++built;
          break;
        }
    }
    n3.built += built;
    if (built == 0)
      ++n3.without[any ? "nothing is fed after the phrase that has an equivalent"
                       : "no phrase of both texts has an equivalent"];
  };

  for (const int64_t of : pairs) {
    if (build_n3) add_paraphrases(of);
    if (!build_n1 && !build_n2) continue;
    const EncodedPair pair = study.pairs[static_cast<size_t>(of)];
    const auto word = changed_word(pair.pair.stereo, pair.pair.anti);
    if (!word) {
      ++n1.without["the texts differ in more than one word"];
      ++n2.without["the texts differ in more than one word"];
      continue;
    }
    if (build_n1) {
      const RandomStream stream(seed, "nulls/N1", static_cast<uint32_t>(of));
      const auto like = [&](const std::string& model_word, uint64_t first) {
        std::vector<std::string> words;
        const auto after = vocabulary.words_after.find(word->left);
        if (after == vocabulary.words_after.end()) return words;
        const size_t tokens = embeddings.of(model_word).ids.size();
        for (const std::string& one : after->second)
          if (shape(one) == shape(model_word) && !demographic.contains(lower_ascii(one)) &&
              std::abs(vocabulary.log_frequency(one) - vocabulary.log_frequency(model_word)) <= kFrequencyNats &&
              embeddings.of(one).ids.size() == tokens)
            words.push_back(one);
        return drawn(std::move(words), stream, first, kMostCandidates);
      };
      const std::vector<std::string> left = like(word->a, 0), right = like(word->b, 1 << 20);
      const double wanted = embeddings.distance(word->a, word->b);
      int built = 0;
      std::set<std::string> taken;
      for (const std::string& u : left) {
        for (const std::string& v : right) {
          if (built == kNullsPerPair) break;
          if (u == v || taken.contains(u) || taken.contains(v)) continue;
          if (std::abs(embeddings.distance(u, v) - wanted) > kDistanceTolerance * wanted) continue;
          if (!add(of, PairKind::kNullNeutral, built, with_word(pair.pair.stereo, word->begin_a, word->a.size(), u),
                   with_word(pair.pair.anti, word->begin_b, word->b.size(), v)))
            continue;
          taken.insert({u, v});
          ++built;
        }
      }
      n1.built += built;
      if (built == 0)
        ++n1.without[left.empty() || right.empty()
                         ? "no word of the texts fits the place, the frequency and the token count"
                         : "no two fitting words lie as far apart as the pair's"];
    }
    if (build_n2) {
      const RandomStream stream(seed, "nulls/N2", static_cast<uint32_t>(of));
      int built = 0;
      for (const bool stereo : {true, false}) {
        const std::string& own = stereo ? word->a : word->b;
        std::vector<std::string> others;
        if (const auto found = mates.find(own); found != mates.end())
          for (const std::string& other : found->second)
            if (shape(other) == shape(own) && embeddings.of(other).ids.size() == embeddings.of(own).ids.size())
              others.push_back(other);
        others = drawn(std::move(others), stream, stereo ? 0 : 1 << 20, 1);
        const std::string& text = stereo ? pair.pair.stereo : pair.pair.anti;
        const size_t begin = stereo ? word->begin_a : word->begin_b;
        for (const std::string& other : others)
          built += add(of, PairKind::kNullSameGroup, built, text, with_word(text, begin, own.size(), other));
      }
      n2.built += built;
      if (built == 0)
        ++n2.without[lists.empty() ? "no word list was at hand" : "no list holds the word and another like it"];
    }
  }
  if (build_n1) study.built_nulls["N1"] = std::move(n1);
  if (build_n2) study.built_nulls["N2"] = std::move(n2);
  if (build_n3) study.built_nulls["N3"] = std::move(n3);
}

}  // namespace fare
