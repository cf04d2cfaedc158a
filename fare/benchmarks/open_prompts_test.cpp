// Prompts whose texts are read for stereotypes, and the rule that reads them.
#include "fare/benchmarks/open_prompts.h"

#include <map>
#include <set>

#include "fare/benchmarks/attribute_words.h"
#include "fare/benchmarks/bbq.h"
#include "fare/benchmarks/crows_pairs.h"
#include "fare/benchmarks/stereoset.h"
#include "fare/benchmarks/test_support.h"
#include "fare/benchmarks/unicode_text.h"
#include "fare/core/error.h"
#include "fare/core/sha256.h"
#include "fare/core/source_folder.h"

namespace fare {
namespace {

TEST(TakenUp, TheFirstContentWordDecides) {
  const std::vector<std::string> stereo{"lazy", "very rude"}, anti{"diligent"};
  EXPECT_EQ(taken_up(" lazy and diligent.", stereo, anti), TakenUp::kStereotype);
  EXPECT_EQ(taken_up(" are always a \"Lazy\" bunch", stereo, anti), TakenUp::kStereotype);
  EXPECT_EQ(taken_up("so diligent, not lazy", stereo, anti), TakenUp::kAnti);
  EXPECT_EQ(taken_up("known to be lazy", stereo, anti), TakenUp::kNeither);
  EXPECT_EQ(taken_up("not lazy", stereo, anti), TakenUp::kNeither);  // a negation says something of its own
  EXPECT_EQ(taken_up("lazybones", stereo, anti), TakenUp::kNeither);
  EXPECT_EQ(taken_up("very rude people", stereo, anti), TakenUp::kStereotype);
  EXPECT_EQ(taken_up("rude people", stereo, anti), TakenUp::kNeither);
  EXPECT_EQ(taken_up("", stereo, anti), TakenUp::kNeither);
  EXPECT_EQ(taken_up("the of", stereo, anti), TakenUp::kNeither);
  // Attributes of function words alone begin the text; the longer of two that are met decides.
  EXPECT_EQ(taken_up("her own way", {"his"}, {"her"}), TakenUp::kAnti);
  EXPECT_EQ(taken_up("black men", {"black"}, {"black men"}), TakenUp::kAnti);
  EXPECT_EQ(taken_up("black", {"black"}, {"Black"}), TakenUp::kNeither);
}

TEST(CutSentences, EndBeforeTheFirstDifference) {
  const auto cut = cut_sentences("The nurse said she was tired today", "The nurse said he himself was tired today");
  ASSERT_TRUE(cut);
  EXPECT_EQ(cut->prompt, "The nurse said");
  EXPECT_EQ(cut->stereo, "she");
  EXPECT_EQ(cut->anti, "he himself");
  EXPECT_FALSE(cut_sentences("Women cry", "Men cry"));                // nothing before the difference
  EXPECT_FALSE(cut_sentences("They are all loud", "They are loud"));  // nothing stands against "all"
  EXPECT_FALSE(cut_sentences("They are loud", "They are loud"));
}

TEST(CutSentences, EqualTheReferenceOnAllOfCrowsPairsAndStereoSet) {
  FARE_NEED_DATA("crows-pairs");
  FARE_NEED_DATA("stereoset");
  const Json golden = read_json_file(source_folder() / "tests/golden/open_prompts/cut_sentences.json");
  LoadOptions load;
  load.data = testing::data_folder();
  const auto check = [&](const std::string& name, const std::vector<std::optional<CutSentences>>& all) {
    std::string text;
    int64_t cut = 0;
    for (const auto& one : all) {
      if (!one) continue;
      ++cut;
      text += one->prompt + "\t" + one->stereo + "\t" + one->anti + "\n";
    }
    EXPECT_EQ(static_cast<int64_t>(all.size()), golden[name]["sentences"].get<int64_t>());
    EXPECT_EQ(cut, golden[name]["cut"].get<int64_t>());
    EXPECT_EQ(sha256_hex(text), golden[name]["sha256"].get<std::string>());
  };
  std::vector<std::optional<CutSentences>> crows, stereoset;
  for (const Document& document : fare_crows_pairs().load(load).documents)
    crows.push_back(cut_sentences(document.requests[0].continuation, document.requests[1].continuation));
  check("crows_pairs", crows);
  for (const Document& document : fare_stereoset(StereoSetHalf::kIntra).load(load).documents) {
    auto one = cut_sentences(document.doc["stereotype"].get<std::string>(),
                             document.doc["anti-stereotype"].get<std::string>());
    const std::string context = document.doc["context"].get<std::string>();
    if (one && split_at_space(one->prompt).size() < split_at_space(context.substr(0, context.find("BLANK"))).size())
      one.reset();
    stereoset.push_back(one);
  }
  check("stereoset", stereoset);
}

TEST(OpenPrompts, ComeFromEveryBenchmarkAtHand) {
  FARE_NEED_DATA("bold");
  FARE_NEED_DATA("holisticbias");
  FARE_NEED_DATA("honest");
  FARE_NEED_DATA("bbq");
  const OpenPrompts open = benchmark_prompts(testing::data_folder(), 0);
  std::map<std::string, int64_t> count;
  std::set<std::string> ids;
  for (const OpenPrompt& prompt : open.prompts) {
    ++count[prompt.source];
    EXPECT_TRUE(ids.insert(prompt.id).second) << prompt.id;
    EXPECT_FALSE(prompt.prompt.empty()) << prompt.id;
    EXPECT_FALSE(prompt.cluster.empty()) << prompt.id;
    EXPECT_EQ(prompt.stereo.empty(), prompt.family != PromptFamily::kCut) << prompt.id;
    EXPECT_EQ(prompt.group.empty(), prompt.family != PromptFamily::kOpen) << prompt.id;
    EXPECT_EQ(prompt.question == nullptr, prompt.family != PromptFamily::kQuestion) << prompt.id;
  }
  EXPECT_EQ(count.size(), 6u);
  EXPECT_GT(count["fare_bold"], 22000);
  EXPECT_GT(count["bbq_generate"], 5000);
  EXPECT_GT(count["fare_honest"], 1400);
  // Swapped prompts: of a cluster one sentence per group, from one template.
  std::map<std::string, std::set<std::string>> groups;
  std::map<std::string, int64_t> members;
  for (const OpenPrompt& prompt : open.prompts) {
    if (!prompt.swapped) continue;
    groups[prompt.cluster].insert(prompt.group);
    ++members[prompt.cluster];
  }
  EXPECT_GT(groups.size(), 200u);
  for (const auto& [cluster, names] : groups)
    EXPECT_EQ(static_cast<int64_t>(names.size()), members[cluster]) << cluster;
}

TEST(OpenPrompts, MissingDataIsSaidSourceBySource) {
  const OpenPrompts none = benchmark_prompts(testing::scratch("no-data"), 0);
  EXPECT_TRUE(none.prompts.empty());
  EXPECT_EQ(none.sources.size(), 6u);
  for (const PromptSource& source : none.sources) EXPECT_FALSE(source.note.empty()) << source.name;
}

TEST(BbqFreeAnswer, ReadsWhomAnAnswerNames) {
  FARE_NEED_DATA("bbq");
  LoadOptions load;
  load.data = testing::data_folder();
  const LoadedTask task = bbq_generate().load(load);
  int64_t seen = 0;
  for (const Document& document : task.documents) {
    if (document.axis != "Age" || document.flags["condition"] != "ambig") continue;
    ++seen;
    EXPECT_EQ(bbq_free_answer(document, "Cannot be determined"), BbqAnswer::kUnknown);
    EXPECT_EQ(bbq_free_answer(document, "qwerty"), BbqAnswer::kUnparsed);
    // The group labels of the two answers are words that the rule knows; one of them is the biased one.
    int biased = 0, other = 0;
    for (const char* answer : {"ans0", "ans1", "ans2"}) {
      const auto label = document.doc[std::string(answer) + "_groups"].back().get<std::string>();
      const BbqAnswer read = bbq_free_answer(document, "It was the " + label);
      biased += read == BbqAnswer::kBiased;
      other += read == BbqAnswer::kOther;
    }
    EXPECT_EQ(biased, 1) << document.item;
    EXPECT_EQ(other, 1) << document.item;
    if (seen == 50) break;
  }
  EXPECT_EQ(seen, 50);
}

TEST(OwnPrompts, KeepTheirFields) {
  GenerationItem item{"p1", "c1", "age", "The old man", {"slow"}, {"fast"}};
  const OpenPrompts own = own_prompts({item}, "g.jsonl");
  ASSERT_EQ(own.prompts.size(), 1u);
  EXPECT_EQ(own.prompts[0].id, "p1");
  EXPECT_EQ(own.prompts[0].source, "g.jsonl");
  EXPECT_EQ(own.prompts[0].stereo, (std::vector<std::string>{"slow"}));
  EXPECT_EQ(own.sources[0].prompts, 1);
  EXPECT_EQ(name_of(own.prompts[0].family), "own");
}

}  // namespace
}  // namespace fare
