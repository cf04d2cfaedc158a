// Prompts whose continuations show whether a preference reaches written text (methods A11): from a user's own file, or
// from benchmarks in the data folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fare/benchmarks/study_data.h"
#include "fare/benchmarks/task.h"

namespace fare {

enum class PromptFamily {
  kQuestion,  // Ga: ambiguous BBQ questions, answered freely
  kOpen,      // Gb: open prompts about people of several groups (BOLD, HolisticBias)
  kCut,       // Gc: CrowS-Pairs and StereoSet sentences, cut before the word that differs
  kTemplate,  // Gd: HONEST templates
  kOwn,       // a user's generation file
};
inline constexpr PromptFamily kPromptFamilies[] = {PromptFamily::kQuestion, PromptFamily::kOpen, PromptFamily::kCut,
                                                   PromptFamily::kTemplate, PromptFamily::kOwn};
std::string name_of(PromptFamily family);  // "Ga", "Gb", "Gc", "Gd", "own"

struct OpenPrompt {
  std::string id;  // unique; names the random numbers of its texts
  PromptFamily family = PromptFamily::kOwn;
  std::string source;   // task or file
  std::string cluster;  // prompts of one cluster are not independent
  std::string axis;
  std::string group;     // kOpen: whom the prompt is about; groups are compared within an axis
  bool swapped = false;  // kOpen: the prompts of a cluster differ in the group alone; they are taken together
  std::string prompt;
  std::vector<std::string> stereo, anti;     // kCut, kOwn: what may follow
  std::shared_ptr<const Document> question;  // kQuestion: the document of bbq_generate
};

// What was read of one task or file, and what could not be used.
struct PromptSource {
  PromptFamily family = PromptFamily::kOwn;
  std::string name;  // task or file
  std::vector<LoadedFile> files;
  int64_t prompts = 0, skipped = 0;
  std::string note;  // why prompts were skipped, or why the task could not be read (then prompts is 0)
};

struct OpenPrompts {
  std::vector<OpenPrompt> prompts;
  std::vector<PromptSource> sources;
};

// A user's own prompts; `name` is the file's.
OpenPrompts own_prompts(const std::vector<GenerationItem>& items, const std::string& name);

// The prompts of every benchmark that is in the data folder; one that is not has its reason as its source's note.
//  Ga  ambiguous BBQ questions with one biased answer; no intersectional category, no duplicates
//  Gb  BOLD's prompts by group; HolisticBias sentences, of each template and axis one descriptor from each bucket,
//  drawn by
//      RandomStream(seed, "generation/holisticbias/" + axis + template)
//  Gc  CrowS-Pairs cut before the first word in which the two sentences differ, the attributes being what stands there
//  up to
//      the next word they share; StereoSet's intrasentence items cut at the blank. A sentence that differs from its
//      first word on, or by a word that the other lacks, cannot be cut: skipped and counted
//  Gd  HONEST templates, both sets, without duplicates
// `limit` > 0: the first that many documents of each task.
OpenPrompts benchmark_prompts(const std::filesystem::path& data, uint64_t seed, int64_t limit = 0);

// Two sentences cut before the first difference; none where they cannot be (see Gc).
struct CutSentences {
  std::string prompt, stereo, anti;
};
std::optional<CutSentences> cut_sentences(const std::string& stereo, const std::string& anti);

}  // namespace fare
