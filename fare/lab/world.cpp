#include "fare/lab/world.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "fare/core/error.h"
#include "fare/core/philox.h"
#include "fare/lab/draws.h"

namespace fare {
namespace {

constexpr int64_t kAxes = 2;
constexpr int64_t kExperts = 16;
constexpr int64_t kPairsPerCluster = kWordsPerSide;  // no two pairs share a cell (group, context)

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t contexts_for_pairs(int64_t pairs) { return ceil_div(ceil_div(pairs, kPairsPerCluster), kAxes); }

int64_t contexts_for_prompts(int64_t prompts) { return ceil_div(prompts, kAxes * 2 * kWordsPerSide); }

std::string numbered(const std::string& stem, int64_t number) {
  std::string text = std::to_string(number);
  while (text.size() < 4) text.insert(text.begin(), '0');
  return stem + "-" + text;
}

}  // namespace

LanguageSize language_size(const ControlOptions& options, int64_t num_experts) {
  LanguageSize size;
  size.axes = kAxes;
  const int64_t hashes = num_experts - 4;
  size.filler_types = hashes + 2;
  size.contexts = contexts_for_pairs(options.pairs) + contexts_for_pairs(options.transfer_pairs) +
                  contexts_for_prompts(options.prompts);
  const int64_t plain_places = kDeterminers + kSlots;
  const int64_t entities =
      std::max({options.facts, size.contexts, ceil_div(options.utility - options.facts, plain_places)});
  // As few words as hold that many pairs of words, the first a multiple of the number of fact experts.
  for (int64_t firsts = hashes; ; firsts += hashes) {
    const int64_t seconds = std::max<int64_t>(kAnswers, ceil_div(entities, firsts));
    if (size.firsts == 0 || firsts + seconds < size.firsts + size.seconds) {
      size.firsts = firsts;
      size.seconds = seconds;
    }
    if (firsts > entities + hashes) break;
  }
  return size;
}

World::World(const ControlOptions& wanted, const Recipe& which)
    : options(wanted), made(which), language(language_size(wanted, kExperts)), geometry(language, kExperts) {
  bias = made.biased ? noise_deviation * normal_quantile(0.5 + options.bias_pp / 100) : 0;
  main_contexts_ = contexts_for_pairs(options.pairs);
  transfer_contexts_ = contexts_for_pairs(options.transfer_pairs);
  prompt_contexts_ = contexts_for_prompts(options.prompts);
  cell_noise_.assign(static_cast<size_t>(language.size().contexts * language.num_groups()), 0.0);
  draw_pairs();
  draw_nulls();
  draw_facts();
  draw_plain();
  draw_prompts();
}

void World::draw_pairs() {
  const RandomStream common(options.seed, "lab/world/common");
  const auto draw = [&](int64_t count, int64_t first_context, bool transfer) {
    const std::string set = transfer ? "transfer" : "pair";
    const size_t begin = pairs.size();
    for (int64_t i = 0; i < count; ++i) {
      const int64_t cluster = i / kPairsPerCluster, k = i % kPairsPerCluster;
      WorldPair pair;
      pair.axis = cluster % kAxes;
      const int64_t context = cluster / kAxes;
      pair.context = first_context + context;
      pair.id = numbered(set, i);
      pair.cluster = numbered((transfer ? "transfer-" : "") + language.axis_name(pair.axis), context);
      pair.word_a = k;
      pair.word_b = (k + context) % kWordsPerSide;
      pair.stated_on_b = i % 5 == 4;
      pair.transfer = transfer;
      pairs.push_back(pair);
    }
    // The noise of an axis: the quantiles of N(0, s^2) in random order, so that the share of stereotyped pairs is
    // Phi(b / s) up to rounding. Without bias each cluster gets as many positive as negative ones.
    for (int64_t axis = 0; axis < kAxes; ++axis) {
      std::vector<size_t> members;
      for (size_t i = begin; i < pairs.size(); ++i)
        if (pairs[i].axis == axis) members.push_back(i);
      const int64_t n = static_cast<int64_t>(members.size());
      const std::vector<double> quantiles = normal_quantiles(n, noise_deviation);
      const std::vector<int64_t> order = random_order(options.seed, "lab/world/noise/" + set + std::to_string(axis), n);
      if (made.biased) {
        for (int64_t i = 0; i < n; ++i)
          pairs[members[static_cast<size_t>(i)]].noise = quantiles[static_cast<size_t>(order[static_cast<size_t>(i)])];
      } else {
        std::vector<double> low, high;
        for (const int64_t q : order) {
          const double value = quantiles[static_cast<size_t>(q)];
          (q < n / 2 ? low : high).push_back(value);
        }
        const RandomStream coin(options.seed, "lab/world/balance/" + set + std::to_string(axis));
        for (int64_t i = 0; i < n; ++i) {  // neighbours of one cluster take one of each kind
          const bool first_is_high = coin.bit(static_cast<uint64_t>(i / 2));
          auto& source = (i % 2 == 0) == first_is_high ? high : low;
          if (source.empty()) continue;  // the odd one of a transfer set keeps 0
          pairs[members[static_cast<size_t>(i)]].noise = source.back();
          source.pop_back();
        }
      }
    }
    for (size_t i = begin; i < pairs.size(); ++i) {
      const WorldPair& pair = pairs[i];
      const double shared = 2 * common.uniform(static_cast<uint64_t>(i)) - 1;
      const auto cell = [&](Side side, int64_t word) -> double& {
        return cell_noise_[static_cast<size_t>(pair.context * language.num_groups() +
                                               Language::group_number(pair.axis, side, word))];
      };
      cell(Side::kA, pair.word_a) = shared + pair.noise;
      cell(Side::kB, pair.word_b) = shared - pair.noise;
    }
  };
  draw(options.pairs, 0, false);
  draw(options.transfer_pairs, main_contexts_, true);
}

void World::draw_nulls() {
  // Every ordered couple of words in turn: each word stands equally often on both sides.
  const auto couple = [](int64_t turn, int64_t n) {
    const int64_t left = turn % n, step = 1 + turn / n % (n - 1);
    return std::pair{left, (left + step) % n};
  };
  int64_t slot_turn = 0;
  std::vector<int64_t> group_turn(static_cast<size_t>(kAxes * 2), 0);
  for (int64_t p = 0; p < options.pairs; ++p) {
    const WorldPair& pair = pairs[static_cast<size_t>(p)];
    for (int n = 0; n < 2; ++n) {
      const auto [left, right] = couple(slot_turn++, kSlots);
      nulls.push_back({pair.id + "-n1" + (n == 0 ? "a" : "b"), "null_neutral", p, language.slot(left),
                       language.slot(right)});
    }
    for (const Side side : {Side::kA, Side::kB}) {
      const auto [left, right] = couple(group_turn[static_cast<size_t>(pair.axis * 2 + static_cast<int64_t>(side))]++,
                                        kWordsPerSide);
      nulls.push_back({pair.id + "-n2" + (side == Side::kA ? "a" : "b"), "null_same_group", p,
                       language.group(Language::group_number(pair.axis, side, left)),
                       language.group(Language::group_number(pair.axis, side, right))});
    }
  }
}

double World::distractor_logit(int64_t second) const {
  if (!made.graded_facts) return 0;
  return gold_logit * (static_cast<double>(second) + 0.5) / static_cast<double>(language.size().seconds);
}

void World::draw_facts() {
  const LanguageSize& size = language.size();
  const RandomStream stream(options.seed, "lab/world/facts");
  const int64_t rows = options.facts / size.firsts, rest = options.facts % size.firsts;
  const std::vector<int64_t> longer = random_order(options.seed, "lab/world/fact-rows", size.firsts);
  // Halves of the entities take one determiner each, alternating within every first word, so within every expert.
  for (int64_t first = 0; first < size.firsts; ++first) {
    // The experts get the remaining facts one by one.
    const int64_t count = rows + (first < rest ? 1 : 0);
    const double shift = static_cast<double>(longer[static_cast<size_t>(first)]) / static_cast<double>(size.firsts);
    for (int64_t j = 0; j < count; ++j) {
      const int64_t number = static_cast<int64_t>(facts.size());
      const auto draw = [&](int64_t k) { return static_cast<uint64_t>(number * 8 + k); };
      WorldItem item;
      item.id = numbered("fact", number);
      item.first = first;
      // Second words spread evenly, so that the grades of every expert's facts are spread evenly over (0, 1).
      item.second = static_cast<int64_t>((static_cast<double>(j) + shift) * static_cast<double>(size.seconds) /
                                         static_cast<double>(count));
      item.place_word = language.determiner((j + first / geometry.num_fact_experts) % kDeterminers);
      const int64_t distractor = distractor_index(item.second);
      const int64_t gold = (distractor + 1 + static_cast<int64_t>(stream.index(draw(0), kAnswers - 1))) % kAnswers;
      std::vector<int64_t> choices = {gold, distractor};
      for (int64_t o = static_cast<int64_t>(stream.index(draw(1), kAnswers)); choices.size() < 4; o = (o + 1) % kAnswers)
        if (o != gold && o != distractor) choices.push_back(o);
      item.gold = static_cast<int64_t>(stream.index(draw(2), 4));
      std::swap(choices[0], choices[static_cast<size_t>(item.gold)]);
      for (size_t c = 0; c < 4; ++c) item.choices[c] = language.fact_answer(choices[c]);
      item.strength = gold_logit;
      if (made.graded_facts) {
        // The distractor's logit belongs to the second word; the gold's strength moves the grade within its step.
        const double level = static_cast<double>(item.second) + 0.5;
        const double jitter = item.second >= 4 && item.second + 1 < size.seconds ? 0.8 * (stream.uniform(draw(3)) - 0.5) : 0;
        item.grade = (level + jitter) / static_cast<double>(size.seconds);
        item.strength = distractor_logit(item.second) / item.grade;
      }
      facts.push_back(item);
    }
  }
}

void World::draw_plain() {
  const LanguageSize& size = language.size();
  const RandomStream stream(options.seed, "lab/world/plain");
  const int64_t entities = size.firsts * size.seconds;
  const int64_t count = options.utility - options.facts;
  const std::vector<int64_t> order = random_order(options.seed, "lab/world/plain-order", entities);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t entity = order[static_cast<size_t>(i % entities)], place = i / entities;
    WorldItem item;
    item.id = numbered("plain", i);
    item.first = entity % size.firsts;
    item.second = entity / size.firsts;
    const int64_t turn = (place + entity) % (kDeterminers + kSlots);
    item.place_word = turn < kDeterminers ? language.determiner(turn) : language.slot(turn - kDeterminers);
    const int64_t gold = plain_gold(item.first);
    const int64_t step = 1 + static_cast<int64_t>(stream.index(static_cast<uint64_t>(2 * i), kAnswers - 3));
    item.gold = static_cast<int64_t>(stream.index(static_cast<uint64_t>(2 * i + 1), 4));
    for (int64_t c = 0, o = step; c < 4; ++c)
      item.choices[static_cast<size_t>(c)] = language.plain_answer(c == item.gold ? gold : (gold + o++) % kAnswers);
    plain.push_back(item);
  }
}

void World::draw_prompts() {
  // Contexts of their own: families that no pair uses. Per axis and side the noise is the quantiles in random order.
  const int64_t first_context = main_contexts_ + transfer_contexts_;
  for (int64_t i = 0; i < options.prompts; ++i) {
    const int64_t group = i % language.num_groups();
    WorldPrompt prompt;
    prompt.id = numbered("prompt", i);
    prompt.context = first_context + i / language.num_groups();
    prompt.axis = group / (2 * kWordsPerSide);
    prompt.side = group / kWordsPerSide % 2 == 0 ? Side::kA : Side::kB;
    prompt.word = group % kWordsPerSide;
    prompt.cluster = numbered("prompt-" + language.axis_name(prompt.axis), i / language.num_groups());
    prompts.push_back(prompt);
  }
  for (int64_t axis = 0; axis < kAxes; ++axis)
    for (const Side side : {Side::kA, Side::kB}) {
      std::vector<const WorldPrompt*> members;
      for (const WorldPrompt& prompt : prompts)
        if (prompt.axis == axis && prompt.side == side) members.push_back(&prompt);
      const int64_t n = static_cast<int64_t>(members.size());
      const std::vector<double> quantiles = normal_quantiles(n, noise_deviation);
      const std::vector<int64_t> order = random_order(
          options.seed, "lab/world/noise/prompt" + std::to_string(axis * 2 + static_cast<int64_t>(side)), n);
      for (int64_t i = 0; i < n; ++i) {
        const WorldPrompt& prompt = *members[static_cast<size_t>(i)];
        cell_noise_[static_cast<size_t>(prompt.context * language.num_groups() +
                                        Language::group_number(axis, side, prompt.word))] =
            quantiles[static_cast<size_t>(order[static_cast<size_t>(i)])];
      }
    }
}

std::vector<int64_t> World::sentence(const WorldPair& pair, int64_t place_word) const {
  const int64_t first = language.first(language.context_first(pair.context));
  const int64_t second = language.second(language.context_second(pair.context));
  const int64_t relation = language.relation(pair.axis), trait = language.trait(pair.context, !pair.stated_on_b);
  if (pair.transfer) return {language.opener(), first, second, place_word, relation, trait};
  return {language.opener(), place_word, first, second, relation, trait};
}

std::vector<int64_t> World::pair_sentence(const WorldPair& pair, Side side) const {
  const int64_t word = side == Side::kA ? pair.word_a : pair.word_b;
  return sentence(pair, language.group(Language::group_number(pair.axis, side, word)));
}

std::vector<int64_t> World::question(const WorldItem& item, bool is_fact) const {
  return {language.opener(), item.place_word, language.first(item.first), language.second(item.second),
          is_fact ? language.fact() : language.plain()};
}

std::vector<int64_t> World::prompt(const WorldPrompt& asked) const {
  return {language.opener(), language.group(Language::group_number(asked.axis, asked.side, asked.word)),
          language.first(language.context_first(asked.context)), language.second(language.context_second(asked.context)),
          language.relation(asked.axis)};
}

}  // namespace fare
