#include "fare/diagnosis/transfer_measures.h"

#include <fmt/format.h>

#include <functional>
#include <map>
#include <set>

#include "fare/benchmarks/attribute_words.h"
#include "fare/benchmarks/bbq.h"
#include "fare/benchmarks/honest.h"
#include "fare/benchmarks/reply_rules.h"
#include "fare/core/error.h"
#include "fare/stats/moments.h"

namespace fare {
namespace {

using Families = std::set<PromptFamily>;
// The value of one text; none where the metric cannot read it.
using TextValue = std::function<std::optional<double>(const TransferPrompt&, const WrittenText&)>;

std::string names_of(const std::set<PromptFamily>& families) {
  std::string names;
  for (const PromptFamily family : families) names += (names.empty() ? "" : ", ") + name_of(family);
  return names;
}

std::optional<double> mean_value(const TransferPrompt& prompt, std::span<const WrittenText> texts,
                                 const TextValue& value) {
  double total = 0;
  int64_t n = 0;
  for (const WrittenText& text : texts)
    if (const auto one = value(prompt, text)) {
      total += *one;
      ++n;
    }
  return n > 0 ? std::optional(total / static_cast<double>(n)) : std::nullopt;
}

// Means over samples per prompt; `factor` brings them into the metric's unit. `event` (may be empty): the greedy text's
// yes or no.
MetricValues prompt_values(const std::string& metric, const std::string& title, const Families& families, double factor,
                           double largest, const TransferPrompts& prompts, std::span<const double> sign,
                           const WrittenTexts& base, const WrittenTexts& edited, const TextValue& value,
                           const TextValue& event) {
  MetricValues out;
  out.metric = metric;
  out.title = title;
  out.largest = largest;
  Families used;
  for (size_t i = 0; i < base.items.size(); ++i) {
    const size_t item = static_cast<size_t>(base.items[i]);
    const TransferPrompt& prompt = prompts.items[item];
    if (!families.contains(prompt.open.family)) continue;
    const auto before = mean_value(prompt, base.sampled[i], value),
               after = mean_value(prompt, edited.sampled[i], value);
    if (!before || !after) continue;
    used.insert(prompt.open.family);
    out.samples = static_cast<int64_t>(base.sampled[i].size());
    out.base.push_back(factor * *before);
    out.edited.push_back(factor * *after);
    out.sign.push_back(sign.empty() ? 1.0 : sign[item]);
    out.clusters.push_back(prompt.open.cluster);
    if (!event) continue;
    const auto greedy_before = mean_value(prompt, base.greedy[i], event),
               greedy_after = mean_value(prompt, edited.greedy[i], event);
    out.greedy_base.push_back(greedy_before.value_or(0));
    out.greedy_edited.push_back(greedy_after.value_or(0));
  }
  out.families = names_of(used);
  return out;
}

// Mean sentiment per prompt in standard deviations of the prompts without edits: as it is, for the range between
// groups, or
// (`paired`) the mean |difference| between two groups' prompts of a cluster of swapped prompts, one value a cluster.
MetricValues sentiment_gaps(const Families& families, const TransferPrompts& prompts, const WrittenTexts& base,
                            const WrittenTexts& edited, const TextValue& sentiment, bool paired) {
  MetricValues out;
  out.metric = paired ? "M3_paired" : "M3_range";
  out.title = paired ? "mean difference in sentiment between the same prompt on two groups"
                     : "largest minus smallest mean sentiment of a group, mean over axes";
  out.unit = "SD";
  struct Place {
    size_t item = 0;
    double before = 0, after = 0;
  };
  std::vector<Place> places;
  std::vector<double> values;
  for (size_t i = 0; i < base.items.size(); ++i) {
    const size_t item = static_cast<size_t>(base.items[i]);
    const TransferPrompt& prompt = prompts.items[item];
    if (!families.contains(prompt.open.family) || (paired && !prompt.open.swapped)) continue;
    const auto before = mean_value(prompt, base.sampled[i], sentiment),
               after = mean_value(prompt, edited.sampled[i], sentiment);
    if (!before || !after) continue;
    out.samples = static_cast<int64_t>(base.sampled[i].size());
    places.push_back({item, *before, *after});
    values.push_back(*before);
  }
  out.families = names_of(families);
  const auto sd = stats::sample_sd(values);
  if (!sd || *sd == 0) return out;  // no prompt differs from another: there is no scale
  out.largest = 2 / *sd;
  if (!paired) {
    for (const Place& place : places) {
      const OpenPrompt& open = prompts.items[place.item].open;
      out.base.push_back(place.before / *sd);
      out.edited.push_back(place.after / *sd);
      out.sign.push_back(1);
      out.clusters.push_back(open.cluster);
      out.axes.push_back(open.source + "/" + open.axis);
      out.groups.push_back(open.group);
    }
    if (!mean_range(out.axes, out.groups, out.base)) out.base.clear();
    return out;
  }
  std::map<std::string, std::vector<const Place*>> by_cluster;
  for (const Place& place : places) by_cluster[prompts.items[place.item].open.cluster].push_back(&place);
  for (const auto& [cluster, members] : by_cluster) {
    double before = 0, after = 0;
    int64_t pairs = 0;
    for (size_t a = 0; a < members.size(); ++a)
      for (size_t b = a + 1; b < members.size(); ++b) {
        before += std::abs(members[a]->before - members[b]->before);
        after += std::abs(members[a]->after - members[b]->after);
        ++pairs;
      }
    if (pairs == 0) continue;
    out.base.push_back(before / static_cast<double>(pairs) / *sd);
    out.edited.push_back(after / static_cast<double>(pairs) / *sd);
    out.sign.push_back(1);
    out.clusters.push_back(cluster);
  }
  return out;
}

// Prompts of a family that were written for; the reason why no text of it can be measured, or "".
std::string uniform_texts(const TransferPrompts& prompts, PromptFamily family, const WrittenTexts& base) {
  std::set<int32_t> tokens;
  bool any = false;
  for (size_t i = 0; i < base.items.size(); ++i) {
    if (prompts.items[static_cast<size_t>(base.items[i])].open.family != family) continue;
    for (const auto* texts : {&base.greedy[i], &base.sampled[i]})
      for (const WrittenText& text : *texts) {
        any = true;
        tokens.insert(text.ids.begin(), text.ids.end() - (text.ended ? 1 : 0));
        if (tokens.size() > 1) return "";
      }
  }
  if (!any) return "";
  if (tokens.empty()) return "the model without edits ends every text before its first word";
  return fmt::format("every text of the model without edits is made of one token (id {})", *tokens.begin());
}

}  // namespace

TransferLexicons load_transfer_lexicons(const std::filesystem::path& data) {
  TransferLexicons lexicons;
  LoadOptions options;
  options.data = data;
  LoadedTask files;
  const auto load = [&](auto&& read, std::string& missing) {
    try {
      read(options, lexicons.tools, files);
    } catch (const Error& error) {
      missing = error.what();
    }
  };
  load(load_sentiment, lexicons.sentiment_missing);
  load(load_hurtful, lexicons.hurtful_missing);
  load(load_blocked, lexicons.blocked_missing);
  if (!lexicons.tools.blocked && lexicons.blocked_missing.empty())
    lexicons.blocked_missing = BlockList::english_file().path + " is not in the data folder";
  return lexicons;
}

MetricValues mass_values(const TransferPrompts& prompts, std::span<const int64_t> items, std::span<const double> sign,
                         std::span<const CriticalPosition> base, std::span<const CriticalPosition> edited) {
  MetricValues out;
  out.metric = "M0";
  out.title = "expected next-token mass on the stereotype minus the anti-stereotype";
  out.largest = 200;
  Families used;
  for (size_t i = 0; i < items.size(); ++i) {
    const TransferPrompt& prompt = prompts.items[static_cast<size_t>(items[i])];
    out.base.push_back(100 * (base[i].stereo_mass - base[i].anti_mass));
    out.edited.push_back(100 * (edited[i].stereo_mass - edited[i].anti_mass));
    out.sign.push_back(sign[static_cast<size_t>(items[i])]);
    out.clusters.push_back(prompt.open.cluster);
    used.insert(prompt.open.family);
  }
  out.families = names_of(used);
  return out;
}

std::vector<MetricValues> text_values(const TransferPrompts& prompts, std::span<const double> sign,
                                      const WrittenTexts& base, const WrittenTexts& edited,
                                      const TransferLexicons& lexicons, std::vector<MetricNotRun>& not_run) {
  std::vector<MetricValues> metrics;
  Families there;
  std::map<PromptFamily, std::string> unusable;
  for (const int64_t i : base.items) there.insert(prompts.items[static_cast<size_t>(i)].open.family);
  for (const PromptFamily family : there)
    if (const std::string why = uniform_texts(prompts, family, base); !why.empty()) unusable[family] = why;
  const auto add = [&](const std::string& name, const Families& families, const std::string& missing, auto&& make) {
    Families use;
    std::string why = missing;
    for (const PromptFamily family : families) {
      if (!there.contains(family)) continue;
      if (unusable.contains(family)) why = unusable[family];
      else use.insert(family);
    }
    if (missing.empty() && !use.empty()) {
      MetricValues values = make(use);
      if (!values.base.empty()) return metrics.push_back(std::move(values));
      why = "no prompt has a text in both arms that can be compared";
    }
    not_run.push_back({name, why.empty() ? "there are no prompts of family " + names_of(families) : why});
  };
  const auto answer = [](const TransferPrompt& prompt, const WrittenText& text) {
    return bbq_free_answer(*prompt.open.question, text.text);
  };
  const TextValue names_biased = [&](const TransferPrompt& prompt, const WrittenText& text) -> std::optional<double> {
    return answer(prompt, text) == BbqAnswer::kBiased ? 1.0 : 0.0;
  };
  add("M1", {PromptFamily::kQuestion}, "", [&](const Families& use) {
    return prompt_values("M1", "answers to ambiguous questions that name whom the stereotype names", use, 100, 100,
                         prompts, {}, base, edited, names_biased, names_biased);
  });
  add("M1_s_amb", {PromptFamily::kQuestion}, "", [&](const Families& use) {
    return prompt_values("M1_s_amb", "s_AMB: answers along the stereotype minus answers against it, of all questions",
                         use, 100, 200, prompts, {}, base, edited,
                         [&](const TransferPrompt& prompt, const WrittenText& text) -> std::optional<double> {
                           const BbqAnswer side = answer(prompt, text);
                           return side == BbqAnswer::kBiased ? 1.0 : side == BbqAnswer::kOther ? -1.0 : 0.0;
                         },
                         {});
  });
  add("M2", {PromptFamily::kCut, PromptFamily::kOwn}, "", [&](const Families& use) {
    const auto taken = [](const TransferPrompt& prompt, const WrittenText& text) {
      return taken_up(text.text, prompt.open.stereo, prompt.open.anti);
    };
    return prompt_values(
        "M2", "first content word equal to the stereotype minus the anti-stereotype", use, 100, 200, prompts, sign,
        base, edited,
        [&](const TransferPrompt& prompt, const WrittenText& text) -> std::optional<double> {
          const TakenUp side = taken(prompt, text);
          return side == TakenUp::kStereotype ? 1.0 : side == TakenUp::kAnti ? -1.0 : 0.0;
        },
        [&](const TransferPrompt& prompt, const WrittenText& text) -> std::optional<double> {
          return taken(prompt, text) == TakenUp::kStereotype ? 1.0 : 0.0;
        });
  });

  // A broken text says nothing about whom it is on.
  const auto whole = [](const WrittenText& text) { return !is_broken(text.text, text.base_nats_per_token); };
  const TextValue sentiment = [&](const TransferPrompt&, const WrittenText& text) -> std::optional<double> {
    return whole(text) ? std::optional(lexicons.tools.sentiment->score(text.text).compound) : std::nullopt;
  };
  add("M3_range", {PromptFamily::kOpen}, lexicons.sentiment_missing,
      [&](const Families& use) { return sentiment_gaps(use, prompts, base, edited, sentiment, false); });
  add("M3_paired", {PromptFamily::kOpen}, lexicons.sentiment_missing,
      [&](const Families& use) { return sentiment_gaps(use, prompts, base, edited, sentiment, true); });
  const TextValue hurtful = [&](const TransferPrompt& prompt, const WrittenText& text) -> std::optional<double> {
    if (prompt.open.family == PromptFamily::kTemplate)
      return honest_score({{first_word(text.text)}}, {}, *lexicons.tools.hurtful)->honest;
    return whole(text) ? std::optional(lexicons.tools.hurtful_anywhere->any(text.text) ? 1.0 : 0.0) : std::nullopt;
  };
  add("M4_honest", {PromptFamily::kOpen, PromptFamily::kTemplate}, lexicons.hurtful_missing, [&](const Families& use) {
    return prompt_values("M4_honest", "HONEST: hurtful completions", use, 100, 100, prompts, {}, base, edited, hurtful,
                         hurtful);
  });
  const TextValue blocked = [&](const TransferPrompt&, const WrittenText& text) -> std::optional<double> {
    return whole(text) ? std::optional(lexicons.tools.blocked->any(text.text) ? 1.0 : 0.0) : std::nullopt;
  };
  add("M4_blocked", {PromptFamily::kOpen, PromptFamily::kTemplate}, lexicons.blocked_missing, [&](const Families& use) {
    return prompt_values("M4_blocked", "texts with a word of the block list", use, 100, 100, prompts, {}, base, edited,
                         blocked, blocked);
  });
  return metrics;
}

MetricValues broken_values(const TransferPrompts& prompts, const WrittenTexts& base, const WrittenTexts& edited) {
  const auto broken = [](const TransferPrompt&, const WrittenText& text) -> std::optional<double> {
    return is_broken(text.text, text.base_nats_per_token) ? 1.0 : 0.0;
  };
  return prompt_values("broken texts", "share of texts that are broken",
                       {std::begin(kPromptFamilies), std::end(kPromptFamilies)}, 100, 100, prompts, {}, base, edited,
                       broken, broken);
}

TextGuards guards_of(const WrittenTexts& texts) {
  TextGuards guards;
  double distinct = 0, repeated = 0;
  int64_t with_two = 0, with_four = 0;
  for (const auto* arm : {&texts.greedy, &texts.sampled})
    for (const auto& samples : *arm)
      for (const WrittenText& text : samples) {
        ++guards.texts;
        guards.tokens += static_cast<double>(text.ids.size()) - (text.ended ? 1 : 0);
        guards.refusals += is_refusal_wide(text.text);
        guards.broken += is_broken(text.text, text.base_nats_per_token);
        if (const auto value = distinct_two(text.text)) distinct += *value, ++with_two;
        if (const auto value = repeated_four_grams(text.text)) repeated += *value, ++with_four;
      }
  if (guards.texts == 0) return guards;
  const double n = static_cast<double>(guards.texts);
  guards.tokens /= n;
  guards.refusals /= n;
  guards.broken /= n;
  if (with_two > 0) guards.distinct_two = distinct / static_cast<double>(with_two);
  if (with_four > 0) guards.repeated_four_grams = repeated / static_cast<double>(with_four);
  return guards;
}

}  // namespace fare
