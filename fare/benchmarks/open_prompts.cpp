#include "fare/benchmarks/open_prompts.h"

#include <functional>
#include <map>

#include "fare/benchmarks/bbq.h"
#include "fare/benchmarks/bold.h"
#include "fare/benchmarks/crows_pairs.h"
#include "fare/benchmarks/holisticbias.h"
#include "fare/benchmarks/honest.h"
#include "fare/benchmarks/stereoset.h"
#include "fare/benchmarks/token_align.h"
#include "fare/benchmarks/unicode_text.h"
#include "fare/core/error.h"
#include "fare/core/philox.h"

namespace fare {
namespace {

bool is_set(const OrderedJson& flags, const char* name) { return flags.contains(name) && !flags.at(name).is_null(); }

std::string joined(const std::vector<std::string>& words, size_t begin, size_t end) {
  std::string text;
  for (size_t i = begin; i < end; ++i) text += (i == begin ? "" : " ") + words[i];
  return text;
}

// What a document gives; none where it is not to be used at all, an empty prompt where it cannot be.
using MakePrompt = std::function<std::optional<OpenPrompt>(const Document&)>;

void add_task(const Task& task, PromptFamily family, const LoadOptions& load, int64_t limit,
              const std::string& skip_note, const MakePrompt& make, OpenPrompts& out) {
  PromptSource source{family, task.info.name, {}, 0, 0, ""};
  try {
    LoadedTask loaded = task.load(load);
    source.files = std::move(loaded.files);
    if (limit > 0 && static_cast<int64_t>(loaded.documents.size()) > limit)
      loaded.documents.resize(static_cast<size_t>(limit));
    for (Document& document : loaded.documents) {
      if (is_set(document.flags, "duplicate_of") || is_set(document.flags, "excluded")) continue;
      auto prompt = make(document);
      if (!prompt) continue;
      ++source.prompts;
      if (prompt->prompt.empty()) {
        ++source.skipped;
        source.note = skip_note;
        continue;
      }
      prompt->id = task.info.name + "/" + document.item;
      prompt->family = family;
      prompt->source = task.info.name;
      if (prompt->cluster.empty()) prompt->cluster = document.cluster;
      if (prompt->axis.empty()) prompt->axis = document.axis;
      out.prompts.push_back(std::move(*prompt));
    }
  } catch (const IoError& error) {
    source.note = error.what();
  }
  out.sources.push_back(std::move(source));
}

// HolisticBias: of each axis and template one sentence per bucket, about a descriptor drawn for the place.
void keep_one_descriptor_per_bucket(OpenPrompts& prompts, uint64_t seed) {
  std::map<std::pair<std::string, std::string>, std::vector<size_t>> places;  // (cluster, group) -> prompts
  for (size_t i = 0; i < prompts.prompts.size(); ++i)
    if (prompts.prompts[i].swapped) places[{prompts.prompts[i].cluster, prompts.prompts[i].group}].push_back(i);
  std::vector<bool> keep(prompts.prompts.size(), true);
  for (const auto& [place, candidates] : places) {
    const RandomStream draw(seed, "generation/holisticbias/" + place.first + "/" + place.second);
    const size_t chosen = candidates[draw.index(0, candidates.size())];
    for (const size_t i : candidates) keep[i] = i == chosen;
  }
  std::vector<OpenPrompt> kept;
  for (size_t i = 0; i < keep.size(); ++i)
    if (keep[i]) kept.push_back(std::move(prompts.prompts[i]));
  for (PromptSource& source : prompts.sources) {
    if (source.name != "fare_holisticbias") continue;
    source.prompts -= static_cast<int64_t>(prompts.prompts.size() - kept.size());
  }
  prompts.prompts = std::move(kept);
}

}  // namespace

std::string name_of(PromptFamily family) {
  switch (family) {
    case PromptFamily::kQuestion: return "Ga";
    case PromptFamily::kOpen: return "Gb";
    case PromptFamily::kCut: return "Gc";
    case PromptFamily::kTemplate: return "Gd";
    case PromptFamily::kOwn: break;
  }
  return "own";
}

OpenPrompts own_prompts(const std::vector<GenerationItem>& items, const std::string& name) {
  OpenPrompts out;
  for (const GenerationItem& item : items) {
    OpenPrompt prompt;
    prompt.id = item.id;
    prompt.source = name;
    prompt.cluster = item.cluster;
    prompt.axis = item.axis;
    prompt.prompt = item.prompt;
    prompt.stereo = item.stereo;
    prompt.anti = item.anti;
    out.prompts.push_back(std::move(prompt));
  }
  out.sources.push_back({PromptFamily::kOwn, name, {}, static_cast<int64_t>(items.size()), 0, ""});
  return out;
}

std::optional<CutSentences> cut_sentences(const std::string& stereo, const std::string& anti) {
  const auto a = split_at_space(stereo), b = split_at_space(anti);
  const auto spans = differing_spans(equal_blocks(a, b), a.size(), b.size());
  if (spans.empty()) return std::nullopt;
  const DifferingSpan& first = spans.front();
  if (first.a_begin == 0 || first.b_begin == 0 || first.a_begin == first.a_end || first.b_begin == first.b_end)
    return std::nullopt;
  return CutSentences{joined(a, 0, first.a_begin), joined(a, first.a_begin, first.a_end),
                      joined(b, first.b_begin, first.b_end)};
}

OpenPrompts benchmark_prompts(const std::filesystem::path& data, uint64_t seed, int64_t limit) {
  LoadOptions load;
  load.data = data;
  OpenPrompts out;
  add_task(
      bbq_generate(), PromptFamily::kQuestion, load, limit, "",
      [](const Document& document) -> std::optional<OpenPrompt> {
        if (document.flags.at("condition") != "ambig" || document.axis.starts_with("Race_x_") ||
            document.flags.at("biased").size() != 1)
          return std::nullopt;
        OpenPrompt prompt;
        prompt.prompt = document.requests.front().context;
        prompt.question = std::make_shared<const Document>(document);
        return prompt;
      },
      out);
  add_task(
      fare_bold(), PromptFamily::kOpen, load, limit, "",
      [](const Document& document) -> std::optional<OpenPrompt> {
        OpenPrompt prompt;
        prompt.prompt = document.requests.front().context;
        prompt.group = document.flags.at("group").get<std::string>();
        return prompt;
      },
      out);
  add_task(
      fare_holisticbias(), PromptFamily::kOpen, load, limit, "",
      [](const Document& document) -> std::optional<OpenPrompt> {
        const std::string bucket = document.doc.at("bucket").get<std::string>();
        if (bucket.empty()) return std::nullopt;  // an axis without buckets has no groups to compare
        OpenPrompt prompt;
        prompt.prompt = document.requests.front().continuation;
        prompt.group = bucket;
        prompt.swapped = true;
        prompt.cluster = document.axis + "/" + document.doc.at("template").get<std::string>();
        return prompt;
      },
      out);
  keep_one_descriptor_per_bucket(out, seed);
  const auto cut = [](const std::optional<CutSentences>& sentences) {
    OpenPrompt prompt;
    if (!sentences) return prompt;
    prompt.prompt = sentences->prompt;
    prompt.stereo = {sentences->stereo};
    prompt.anti = {sentences->anti};
    return prompt;
  };
  add_task(
      fare_crows_pairs(), PromptFamily::kCut, load, limit,
      "the sentences differ from their first word on, or by a word that one of them lacks",
      [&](const Document& document) -> std::optional<OpenPrompt> {
        return cut(cut_sentences(document.requests[document.pair[0]].continuation,
                                 document.requests[document.pair[1]].continuation));
      },
      out);
  add_task(
      fare_stereoset(StereoSetHalf::kIntra), PromptFamily::kCut, load, limit,
      "the sentences differ before the blank, or the blank is their first word",
      [&](const Document& document) -> std::optional<OpenPrompt> {
        auto sentences = cut_sentences(document.doc.at("stereotype").get<std::string>(),
                                       document.doc.at("anti-stereotype").get<std::string>());
        const std::string context = document.doc.at("context").get<std::string>();
        const auto before = split_at_space(context.substr(0, context.find("BLANK")));
        if (sentences && split_at_space(sentences->prompt).size() < before.size()) sentences.reset();
        return cut(sentences);
      },
      out);
  add_task(
      fare_honest(), PromptFamily::kTemplate, load, limit, "",
      [](const Document& document) -> std::optional<OpenPrompt> {
        OpenPrompt prompt;
        prompt.prompt = document.requests.front().context;
        return prompt;
      },
      out);
  return out;
}

}  // namespace fare
