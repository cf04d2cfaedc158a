#include "fare/diagnosis/transfer.h"

#include <algorithm>
#include <map>
#include <set>

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/stats/moments.h"

namespace fare {
namespace {

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

TransferResult::Candidate::Decodability decodability_of(std::span<const CriticalPosition> positions) {
  TransferResult::Candidate::Decodability out;
  std::vector<double> stereo, anti;
  for (const CriticalPosition& position : positions) {
    stereo.push_back(static_cast<double>(position.stereo_rank));
    anti.push_back(static_cast<double>(position.anti_rank));
    out.stereo_gap_nats += position.stereo_gap_nats;
    out.anti_gap_nats += position.anti_gap_nats;
    out.top5_share += position.in_top5();
  }
  const double n = static_cast<double>(positions.size());
  out.prompts = static_cast<int64_t>(positions.size());
  out.stereo_rank = median_of(stereo);
  out.anti_rank = median_of(anti);
  out.stereo_gap_nats /= n;
  out.anti_gap_nats /= n;
  out.top5_share /= n;
  return out;
}

// Greedy and sampled texts of the items, each item with the number of tokens of its family.
class Writer {
 public:
  Writer(TransferRuns& runs, const TransferPrompts& prompts, const TransferOptions& options)
      : runs_(runs), prompts_(prompts), options_(options) {}

  void add(std::span<const int64_t> items, const Intervention* intervention, WrittenTexts& texts) {
    for (const bool first_word : {true, false}) {
      std::vector<int64_t> own;
      for (const int64_t i : items)
        if (reads_first_word(prompts_.items[static_cast<size_t>(i)].open.family) == first_word) own.push_back(i);
      if (own.empty()) continue;
      const int64_t tokens = first_word ? options_.first_tokens : options_.tokens;
      texts.items.insert(texts.items.end(), own.begin(), own.end());
      for (const bool greedy : {true, false}) {
        const Decoding decoding{greedy ? 1 : options_.samples, greedy ? Sampling{} : options_.sampling, tokens};
        auto written = runs_.write(own, decoding, intervention);
        auto& into = greedy ? texts.greedy : texts.sampled;
        std::move(written.begin(), written.end(), std::back_inserter(into));
      }
    }
  }
  static bool reads_first_word(PromptFamily family) {
    return family == PromptFamily::kCut || family == PromptFamily::kOwn;
  }

 private:
  TransferRuns& runs_;
  const TransferPrompts& prompts_;
  const TransferOptions& options_;
};

// One JSON line per text.
std::string text_lines(const TransferPrompts& prompts, const std::string& arm, const WrittenTexts& texts) {
  std::string out;
  for (size_t i = 0; i < texts.items.size(); ++i) {
    const OpenPrompt& open = prompts.items[static_cast<size_t>(texts.items[i])].open;
    for (const bool greedy : {true, false})
      for (size_t s = 0; s < (greedy ? texts.greedy : texts.sampled)[i].size(); ++s) {
        const WrittenText& text = (greedy ? texts.greedy : texts.sampled)[i][s];
        OrderedJson line = {{"arm", arm},
                            {"id", open.id},
                            {"family", name_of(open.family)},
                            {"cluster", open.cluster},
                            {"axis", open.axis},
                            {"prompt", open.prompt},
                            {"decoding", greedy ? "greedy" : "sampled"},
                            {"sample", s},
                            {"text", text.text},
                            {"finish", text.ended ? "eos" : "length"},
                            {"token_ids", text.ids}};
        out += line.dump() + "\n";
      }
  }
  return out;
}

void set_examples(const TransferPrompts& prompts, const WrittenTexts& base, const WrittenTexts& edited, int64_t most,
                  TransferResult::Candidate& candidate) {
  for (size_t i = 0; i < base.items.size(); ++i) {
    const WrittenText &before = base.greedy[i].front(), &after = edited.greedy[i].front();
    if (before.ids == after.ids) continue;
    ++candidate.greedy_differ;
    if (static_cast<int64_t>(candidate.examples.size()) >= most) continue;
    const OpenPrompt& open = prompts.items[static_cast<size_t>(base.items[i])].open;
    candidate.examples.push_back({open.id, name_of(open.family), open.prompt, before.text, after.text});
  }
}

}  // namespace

TransferOptions TransferOptions::of(StudyProfile profile) {
  TransferOptions options;
  options.profile = profile;
  if (profile == StudyProfile::kSmall) return options;
  options.tokens = options.first_tokens = 64;
  options.prompts = options.first_prompts = 1500;
  options.mass_prompts = 0;
  return options;
}

TransferResult measure_transfer(const Scorer& scorer, const Study& study, const TransferInput& input, Store* store,
                                const std::vector<TransferCandidate>& candidates, const std::vector<int>& signs,
                                const std::filesystem::path& folder, const DiagnosisOptions& options,
                                const TransferOptions& transfer, const Progress& progress) {
  const TransferPrompts& prompts = input.prompts;
  TransferRuns runs(scorer, *input.tokenizer, prompts, store, options.seed, progress);
  TransferResult result;
  result.options = transfer;
  std::vector<double> sign;
  for (const TransferPrompt& item : prompts.items) {
    const auto axis = std::lower_bound(study.axes.begin(), study.axes.end(), item.open.axis);
    const bool known = axis != study.axes.end() && *axis == item.open.axis;
    sign.push_back(known ? signs[static_cast<size_t>(axis - study.axes.begin())] : 1);
  }
  const auto limit_of = [&](const MetricValues& values) {
    return values.unit == "SD" ? options.thresholds.transfer_sd : options.thresholds.transfer_pp;
  };

  // M0 and decodability: one forward.
  std::vector<int64_t> with_mass;
  for (const PromptSource& source : prompts.sources) {
    int64_t taken = 0;
    for (const int64_t i : first_of_source(prompts, source, static_cast<int64_t>(prompts.items.size())))
      if (prompts.items[static_cast<size_t>(i)].has_mass() &&
          (transfer.mass_prompts == 0 || taken < transfer.mass_prompts)) {
        with_mass.push_back(i);
        ++taken;
      }
  }
  std::vector<const Intervention*> arms{nullptr};
  for (const TransferCandidate& candidate : candidates) arms.push_back(candidate.intervention);
  std::vector<std::vector<CriticalPosition>> positions(arms.size());
  if (!with_mass.empty()) {
    positions = runs.critical(with_mass, arms);
    result.base_decodability = decodability_of(positions.front());
  } else {
    result.not_run.push_back(
        {"M0", prompts.items.empty() ? "there are no prompts" : "no prompt has attributes that a token tells apart"});
  }

  // Texts: a pilot first, then as many as it says are needed (full), or as many as the small profile has.
  std::vector<WrittenTexts> texts(arms.size());
  std::vector<int64_t> written;  // items so far
  Writer writer(runs, prompts, transfer);
  const auto write_up_to = [&](int64_t first_prompts, int64_t others) {
    std::set<int64_t> before(written.begin(), written.end());
    std::vector<int64_t> more;
    for (const PromptSource& source : prompts.sources)
      for (const int64_t i :
           first_of_source(prompts, source, Writer::reads_first_word(source.family) ? first_prompts : others))
        if (!before.contains(i)) more.push_back(i);
    if (more.empty()) return;
    for (size_t a = 0; a < arms.size(); ++a) writer.add(more, arms[a], texts[a]);
    written.insert(written.end(), more.begin(), more.end());
  };
  const auto change_of = [&](const MetricValues& values, size_t c) {
    MetricChange change = measure_change(values, limit_of(values), candidates[c].alpha, options,
                                         "generation/" + candidates[c].name + "/" + values.metric);
    change.candidate = candidates[c].name;
    return change;
  };
  int64_t first_prompts = transfer.first_prompts, others = transfer.prompts;
  if (transfer.profile == StudyProfile::kSmall) {
    const auto share = [&](int64_t total, bool first_word) {
      const auto sources =
          std::count_if(prompts.sources.begin(), prompts.sources.end(), [&](const PromptSource& source) {
            return Writer::reads_first_word(source.family) == first_word &&
                   !first_of_source(prompts, source, 1).empty();
          });
      return sources == 0 ? total : (total + sources - 1) / sources;
    };
    first_prompts = share(first_prompts, true);
    others = share(others, false);
  } else if (!prompts.items.empty()) {
    write_up_to(transfer.pilot, transfer.pilot);
    for (size_t c = 0; c < candidates.size(); ++c) {
      std::vector<MetricNotRun> ignored;
      for (const MetricValues& values : text_values(prompts, sign, texts[0], texts[c + 1], input.lexicons, ignored)) {
        const auto needed = change_of(values, c).needed;
        int64_t& target = values.metric == "M2" ? first_prompts : others;
        if (needed) target = std::max(target, *needed);
      }
    }
  }
  write_up_to(first_prompts, others);

  if (!written.empty()) result.base_guards = guards_of(texts[0]);
  for (size_t c = 0; c < candidates.size(); ++c) {
    TransferResult::Candidate candidate;
    candidate.name = candidates[c].name;
    if (!with_mass.empty()) {
      candidate.metrics.push_back(change_of(mass_values(prompts, with_mass, sign, positions[0], positions[c + 1]), c));
      candidate.decodability = decodability_of(positions[c + 1]);
    }
    std::vector<MetricNotRun> not_run;
    for (const MetricValues& values : text_values(prompts, sign, texts[0], texts[c + 1], input.lexicons, not_run))
      candidate.metrics.push_back(change_of(values, c));
    for (const MetricNotRun& one : not_run) {
      const bool said = std::any_of(result.not_run.begin(), result.not_run.end(),
                                    [&](const auto& other) { return other.metric == one.metric; });
      if (!said) result.not_run.push_back(one);
    }
    if (!written.empty()) {
      // Texts that break are damage, not control: where more of them break, that stands among the metrics as a loss.
      const MetricChange broken = change_of(broken_values(prompts, texts[0], texts[c + 1]), c);
      if (broken.p <= candidates[c].alpha && broken.value <= -broken.limit) candidate.metrics.push_back(broken);
      candidate.guards = guards_of(texts[c + 1]);
      set_examples(prompts, texts[0], texts[c + 1], transfer.examples, candidate);
    }
    settle_family(candidate.metrics);
    for (MetricChange& metric : candidate.metrics) {
      if (!candidates[c].margin_effect) metric.ratio_reason = "the pairs' margins did not change on the test split";
      else if (metric.base_sd == 0) metric.ratio_reason = "the metric does not vary over prompts";
      else metric.transfer_ratio = metric.value / metric.base_sd / *candidates[c].margin_effect;
    }
    result.candidates.push_back(std::move(candidate));
  }
  for (const PromptSource& source : prompts.sources) {
    TransferResult::Family family{name_of(source.family), source.name, source.note, 0, source.skipped, 0, 0, 0};
    std::set<std::string> clusters;
    const auto own = [&](int64_t i) {
      const OpenPrompt& open = prompts.items[static_cast<size_t>(i)].open;
      return open.family == source.family && open.source == source.name;
    };
    for (size_t i = 0; i < prompts.items.size(); ++i) {
      if (!own(static_cast<int64_t>(i))) continue;
      ++family.prompts;
      clusters.insert(prompts.items[i].open.cluster);
    }
    family.clusters = static_cast<int64_t>(clusters.size());
    family.mass = std::count_if(with_mass.begin(), with_mass.end(), own);
    family.written = std::count_if(written.begin(), written.end(), own);
    result.families.push_back(std::move(family));
  }
  result.rows_computed = runs.rows_computed();
  if (!folder.empty() && !written.empty()) {
    std::string lines = text_lines(prompts, "base", texts[0]);
    for (size_t c = 0; c < candidates.size(); ++c) lines += text_lines(prompts, candidates[c].name, texts[c + 1]);
    write_file(folder / "generated.jsonl", lines);
  }
  return result;
}

int64_t TransferResult::num_written() const {
  int64_t total = 0;
  for (const Family& family : families) total += family.written;
  return total;
}

std::optional<double> margin_effect(const Study& study, std::span<const int64_t> pairs, std::span<const Margins> base,
                                    std::span<const Margins> edited, const std::vector<int>& signs) {
  std::vector<double> before;
  double change = 0;
  for (size_t i = 0; i < pairs.size(); ++i) {
    before.push_back(base[i].sum);
    change += signs[static_cast<size_t>(study.axis_of[static_cast<size_t>(pairs[i])])] * (base[i].sum - edited[i].sum);
  }
  const auto sd = stats::sample_sd(before);
  if (!sd || *sd == 0 || change == 0) return std::nullopt;
  return change / static_cast<double>(pairs.size()) / *sd;
}

TransferEvidence transfer_evidence(const TransferResult& result, size_t candidate) {
  TransferEvidence evidence;
  evidence.not_run = not_run_text(result);
  for (const MetricChange& m : result.candidates[candidate].metrics)
    evidence.metrics.push_back({m.metric, m.value, m.interval95, m.interval90, m.unit, m.p, m.p_bh, m.family_size,
                                m.prompts, m.n_eff, m.mde, m.mde_reason});
  return evidence;
}

std::vector<std::string> planned_metrics(const TransferInput& input) {
  std::set<PromptFamily> there;
  bool mass = false, swapped = false;
  for (const TransferPrompt& item : input.prompts.items) {
    there.insert(item.open.family);
    mass |= item.has_mass();
    swapped |= item.open.swapped;
  }
  const auto any = [&](PromptFamily a, PromptFamily b) { return there.contains(a) || there.contains(b); };
  std::vector<std::string> names;
  if (mass) names.push_back("M0");
  if (there.contains(PromptFamily::kQuestion)) names.insert(names.end(), {"M1", "M1_s_amb"});
  if (any(PromptFamily::kCut, PromptFamily::kOwn)) names.push_back("M2");
  if (there.contains(PromptFamily::kOpen) && input.lexicons.tools.sentiment) {
    names.push_back("M3_range");
    if (swapped) names.push_back("M3_paired");
  }
  if (any(PromptFamily::kOpen, PromptFamily::kTemplate)) {
    if (input.lexicons.tools.hurtful) names.push_back("M4_honest");
    if (input.lexicons.tools.blocked) names.push_back("M4_blocked");
  }
  return names;
}

std::string unusable_prompts(const TransferPrompts& prompts) {
  std::string text;
  for (const PromptSource& source : prompts.sources)
    text += (text.empty() ? "" : "; ") + source.name + ": " + (source.note.empty() ? "no prompt" : source.note);
  return "no prompt can be continued (" + (text.empty() ? "no source" : text) + ")";
}

std::string not_run_text(const TransferResult& result) {
  std::map<std::string, std::string> names;  // reason -> metrics
  std::string text;
  std::vector<std::string> order;
  for (const MetricNotRun& one : result.not_run) {
    std::string& list = names[one.reason];
    if (list.empty()) order.push_back(one.reason);
    list += (list.empty() ? "" : ", ") + one.metric;
  }
  for (const std::string& reason : order) text += (text.empty() ? "" : "; ") + names[reason] + " (" + reason + ")";
  return text;
}

}  // namespace fare
