#include "fare/diagnosis/planted_pairs.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "fare/benchmarks/words.h"
#include "fare/core/error.h"
#include "fare/core/philox.h"

namespace fare {
namespace {

constexpr const char* kInvented[] = {"Zorvan", "Melkin", "Tavrel", "Quorli", "Brenth",
                                     "Shalto", "Virnak", "Doplex", "Ulmeri", "Kestor"};
constexpr size_t kMostNames = 32;   // words of the study that are tried as names
constexpr size_t kMostTraits = 12;  // ends of texts that are tried as traits

using Counts = std::map<std::string, int64_t>;

// Most frequent first, then by name.
std::vector<std::string> by_frequency(const Counts& counts) {
  std::vector<std::string> words;
  for (const auto& [word, count] : counts) words.push_back(word);
  std::stable_sort(words.begin(), words.end(),
                   [&](const auto& a, const auto& b) { return counts.at(a) > counts.at(b); });
  return words;
}

struct StudyWords {
  Counts shared, ends, all;       // in both texts of pairs; last of a text; anywhere in the study
  std::set<std::string> telling;  // in one text of a pair and not in the other
};

StudyWords words_of_study(const Study& study) {
  StudyWords found;
  for (const EncodedPair& pair : study.pairs) {
    const std::vector<std::string> a = words_of(pair.pair.stereo).words, b = words_of(pair.pair.anti).words;
    const std::set<std::string> of_a(a.begin(), a.end()), of_b(b.begin(), b.end());
    for (const std::string& word : of_a)
      of_b.contains(word) ? (void)++found.shared[word] : (void)found.telling.insert(word);
    for (const std::string& word : of_b)
      if (!of_a.contains(word)) found.telling.insert(word);
    for (const auto* words : {&a, &b}) {
      if (!words->empty()) ++found.ends[words->back()];
      for (const std::string& word : *words) ++found.all[word];
    }
  }
  for (const EncodedPair& null : study.nulls)
    for (const std::string* text : {&null.pair.stereo, &null.pair.anti})
      for (const std::string& word : words_of(*text).words) ++found.all[word];
  for (const EncodedUtility& item : study.utility)
    for (const std::string& word : words_of(item.item.context).words) ++found.all[word];
  return found;
}

// The two endings of a name, cut behind the first token in which they differ; none where the tokens do not part the
// traits.
std::optional<NamedEnding> ending_of(const TextEncoder& encoder, const std::string& name, const std::string& shared,
                                     const std::string& plus, const std::string& minus) {
  NamedEnding ending{name, {}, {}};
  try {
    const std::string begin = " " + name + " " + shared + " ";
    ending.plus = encoder.encode("planted", "x", begin + plus).continuation;
    ending.minus = encoder.encode("planted", "x", begin + minus).continuation;
  } catch (const Error&) {  // cannot be spelled
    return std::nullopt;
  }
  const auto [a, b] = std::mismatch(ending.plus.begin(), ending.plus.end(), ending.minus.begin(), ending.minus.end());
  if (a == ending.plus.begin() || a == ending.plus.end() || b == ending.minus.end()) return std::nullopt;
  ending.plus.erase(a + 1, ending.plus.end());
  ending.minus.erase(b + 1, ending.minus.end());
  return ending;
}

// Those of the names that this vocabulary tells apart and that end alike; empty where they are fewer than two.
std::vector<NamedEnding> endings_of(const TextEncoder& encoder, const std::vector<std::string>& names,
                                    const PlantedPhrase& phrase, size_t most) {
  std::vector<NamedEnding> endings;
  const auto same_tail = [](const NamedEnding& a, const NamedEnding& b) {
    return a.plus.size() == b.plus.size() && a.minus.back() == b.minus.back() &&
           std::equal(a.plus.end() - 2, a.plus.end(), b.plus.end() - 2);
  };
  std::map<size_t, std::vector<NamedEnding>> by_length;  // names of one length stand at equal positions
  for (const std::string& name : names) {
    if (name == phrase.shared || name == phrase.plus || name == phrase.minus) continue;
    const auto ending = ending_of(encoder, name, phrase.shared, phrase.plus, phrase.minus);
    if (!ending) continue;
    std::vector<NamedEnding>& alike = by_length[ending->plus.size()];
    const bool again =
        std::any_of(alike.begin(), alike.end(), [&](const NamedEnding& one) { return one.plus == ending->plus; });
    if (!again && alike.size() < most && (alike.empty() || same_tail(alike.front(), *ending))) alike.push_back(*ending);
  }
  for (auto& [length, alike] : by_length)
    if (alike.size() > endings.size()) endings = std::move(alike);
  return endings.size() < 2 ? std::vector<NamedEnding>{} : endings;
}

}  // namespace

PlantedPhrase planted_phrase(const Study& study, const TextEncoder& encoder) {
  const StudyWords words = words_of_study(study);
  std::vector<std::string> own, ends;
  for (const std::string& word : by_frequency(words.all))
    if (!words.telling.contains(word)) own.push_back(word);
  for (const std::string& word : by_frequency(words.ends))
    if (!words.telling.contains(word) && ends.size() < kMostTraits) ends.push_back(word);
  const std::vector<std::string> invented(std::begin(kInvented), std::end(kInvented));
  for (const std::string& shared : by_frequency(words.shared)) {
    for (size_t a = 0; a < ends.size(); ++a)
      for (size_t b = a + 1; b < ends.size(); ++b) {
        PlantedPhrase phrase;
        phrase.shared = shared;
        phrase.plus = ends[a];
        phrase.minus = ends[b];
        if (phrase.plus == shared || phrase.minus == shared) continue;
        phrase.names = endings_of(encoder, invented, phrase, invented.size());
        phrase.invented = !phrase.names.empty();
        if (phrase.names.empty()) phrase.names = endings_of(encoder, own, phrase, kMostNames);
        if (phrase.names.empty()) continue;
        phrase.plus_id = phrase.names.front().plus.back();
        phrase.minus_id = phrase.names.front().minus.back();
        return phrase;
      }
    break;  // the most frequent word alone is tried: another one does not tell traits apart either
  }
  PlantedPhrase none;
  none.obstacle = words.shared.empty() ? "no word stands in both texts of a pair"
                  : ends.size() < 2    ? "the pairs do not end with two words that could be traits"
                                       : "this tokenizer spells no two names and two traits apart";
  return none;
}

Request with_ending(const Request& request, const std::vector<int32_t>& ending) {
  Request longer = request;
  longer.continuation.insert(longer.continuation.end(), ending.begin(), ending.end());
  return longer;
}

Study planted_study(const Study& study, const NamedEnding& group, const NamedEnding& other, int64_t max_length,
                    int64_t vocab_size, uint64_t seed, const std::vector<bool>& exchanged) {
  Study planted = study;
  planted.pairs.clear();
  planted.nulls.clear();
  planted.null_of.clear();
  planted.built_nulls.clear();
  planted.transfer.clear();
  planted.axes = {"planted"};
  planted.axis_of.clear();
  std::map<std::string, uint64_t> turn;  // of each cluster
  std::vector<SplitItem> items;
  std::vector<std::string> clusters;
  for (size_t i = 0; i < study.pairs.size(); ++i) {
    const EncodedPair& own = study.pairs[i];
    const std::string& cluster = own.pair.cluster;
    const auto [found, first] = turn.try_emplace(cluster, 0);
    if (first) found->second = RandomStream(seed, "planted/" + cluster).index(0, 4);
    const uint64_t now = found->second++ % 4;
    const bool swapped = ((now & 1) != 0) != (!exchanged.empty() && exchanged[i]), plus = (now & 2) != 0;
    EncodedPair pair;
    pair.pair = own.pair;
    pair.pair.axis = "planted";
    pair.pair.set = PairSet::kMain;
    // The group's name stands on the stereotype's side with the trait that it is said to have, else on the other.
    const NamedEnding &on_stereo = plus ? group : other, &on_anti = plus ? other : group;
    pair.stereo = with_ending(swapped ? own.anti : own.stereo, plus ? on_stereo.plus : on_stereo.minus);
    pair.anti = with_ending(swapped ? own.stereo : own.anti, plus ? on_anti.plus : on_anti.minus);
    try {
      if (fed_part(pair.stereo, max_length, vocab_size).truncated +
              fed_part(pair.anti, max_length, vocab_size).truncated >
          0)
        continue;
    } catch (const UsageError&) {  // longer than the model can see
      continue;
    }
    pair.alignment = align_pair(pair.stereo, pair.anti);
    pair.item = item_hash({&pair.stereo, &pair.anti});
    planted.axis_of.push_back(0);
    items.push_back({cluster, "planted"});
    clusters.push_back(cluster);
    planted.pairs.push_back(std::move(pair));
  }
  const std::vector<int32_t>* endings[] = {&group.plus, &other.plus, &group.minus, &other.minus};
  for (size_t i = 0; i < planted.neutral.size(); ++i) {
    const std::vector<int32_t>& ending = *endings[i % 4];
    Request& text = planted.neutral[i];
    if (static_cast<int64_t>(text.context.size() + text.continuation.size() + ending.size()) > max_length) continue;
    text = with_ending(text, ending);
    planted.neutral_tokens += static_cast<int64_t>(ending.size());
  }
  planted.pair_clusters = stats::cluster_by_name(clusters);
  planted.pair_splits = make_splits(items, seed);
  return planted;
}

std::vector<bool> balancing_exchanges(const std::vector<double>& as_is, const std::vector<double>& other_way,
                                      const std::vector<SplitPart>& part) {
  std::vector<bool> exchanged;
  std::map<SplitPart, double> excess;  // pairs that prefer the stereotype minus half of all
  for (size_t i = 0; i < as_is.size(); ++i) {
    double& so_far = excess[part[i]];
    exchanged.push_back(std::abs(so_far + other_way[i] - 0.5) < std::abs(so_far + as_is[i] - 0.5));
    so_far += (exchanged.back() ? other_way[i] : as_is[i]) - 0.5;
  }
  return exchanged;
}

}  // namespace fare
