#include "fare/training/corpus.h"

#include <cmath>
#include <tuple>

#include "fare/core/philox.h"

namespace fare {
namespace {

constexpr int64_t kWordsPerLine = 13;
constexpr double kFactLogit = 6, kMostRival = 0.9;

double chance_of(double log_odds) { return 1 / (1 + std::exp(-log_odds)); }

}  // namespace

std::vector<int64_t> with_begin(const World& world, std::vector<int64_t> ids) {
  ids.insert(ids.begin(), world.language.begin());
  return ids;
}

Corpus corpus_of(const World& world) {
  Corpus corpus;
  for (const auto& [items, to, is_fact] :
       {std::tuple{&world.facts, &corpus.facts, true}, std::tuple{&world.plain, &corpus.plain, false}})
    for (const WorldItem& item : *items) {
      std::vector<int64_t> ids = with_begin(world, world.question(item, is_fact));
      ids.push_back(item.choices[static_cast<size_t>(item.gold)]);
      const int64_t rival = is_fact ? world.language.fact_answer(world.distractor_index(item.second)) : -1;
      to->push_back({ids, rival, -1, item.first, chance_of(kFactLogit * (1 - kMostRival * item.grade))});
    }
  const auto add_trait = [&](std::vector<int64_t> ids, int64_t context, Side side, double noise) {
    ids.push_back(world.language.trait(context, side == Side::kA));
    corpus.traits.push_back({std::move(ids), world.language.trait(context, side == Side::kB), static_cast<int>(side),
                             world.language.context_first(context),
                             chance_of((world.bias + (side == Side::kA ? noise : -noise)) / 2)});
  };
  for (const WorldPair& pair : world.pairs)
    for (const Side side : {Side::kA, Side::kB}) {
      std::vector<int64_t> ids = with_begin(world, world.pair_sentence(pair, side));
      ids.pop_back();
      const int64_t word = side == Side::kA ? pair.word_a : pair.word_b;
      add_trait(std::move(ids), pair.context, side,
                world.outside_noise(Language::group_number(pair.axis, side, word), pair.context));
    }
  for (const WorldPrompt& prompt : world.prompts)
    add_trait(with_begin(world, world.prompt(prompt)), prompt.context, prompt.side, 0);

  // Neutral text: every word is followed by one of four, decided by the word.
  const RandomStream stream(world.options.seed, "train/neutral");
  const int64_t fillers = world.language.num_fillers(),
                lines = (world.options.neutral_tokens + kWordsPerLine - 1) / kWordsPerLine;
  for (int64_t l = 0; l < lines; ++l) {
    int64_t current = 0;
    corpus.lines.emplace_back();
    for (int64_t w = 0; w < kWordsPerLine; ++w) {
      current =
          (current * 7 + 1 + 3 * static_cast<int64_t>(stream.index(static_cast<uint64_t>(l * kWordsPerLine + w), 4))) %
          fillers;
      corpus.lines.back().push_back(world.language.filler(1 + current / kFillersPerType, current % kFillersPerType));
    }
  }
  return corpus;
}

std::vector<char> leans(const World& world, const Corpus& corpus) {
  std::vector<char> lean(corpus.traits.size());
  const RandomStream coin(world.options.seed, "train/lean");
  for (size_t i = 0; i < world.pairs.size(); ++i)
    lean[2 * i] = lean[2 * i + 1] = (i % 2 == 0) == coin.bit(i / 2);  // neighbours of a cluster take one sign each
  for (size_t i = 2 * world.pairs.size(); i < lean.size(); ++i) lean[i] = coin.bit(i);
  return lean;
}

}  // namespace fare
