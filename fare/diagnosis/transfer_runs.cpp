#include "fare/diagnosis/transfer_runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "fare/core/error.h"
#include "fare/core/sha256.h"
#include "fare/diagnosis/measure.h"
#include "fare/models/run_record.h"
#include "fare/scoring/head.h"
#include "fare/scoring/scope.h"

namespace fare {
namespace {

// Fed tokens of prompts whose critical positions are computed together, and rows of texts that are written together.
constexpr int64_t kBatchTokens = 8192;

const char* const kCriticalTask = "generation/critical";

CriticalPosition read_position(const at::Tensor& log_p_V, const TransferPrompt& item) {
  const float* log_p = log_p_V.const_data_ptr<float>();
  const int64_t size = log_p_V.size(0);
  CriticalPosition position;
  const auto side = [&](const std::vector<int32_t>& tokens, double& mass, int64_t& rank, double& gap) {
    float best = -std::numeric_limits<float>::infinity(), top = best;
    for (const int32_t token : tokens) {
      mass += std::exp(static_cast<double>(log_p[token]));
      best = std::max(best, log_p[token]);
    }
    for (int64_t v = 0; v < size; ++v) {
      rank += log_p[v] > best;
      top = std::max(top, log_p[v]);
    }
    gap = static_cast<double>(top) - static_cast<double>(best);
  };
  side(item.stereo, position.stereo_mass, position.stereo_rank, position.stereo_gap_nats);
  side(item.anti, position.anti_mass, position.anti_rank, position.anti_gap_nats);
  return position;
}

Json to_json(const CriticalPosition& p) {
  return {{"stereo_mass", p.stereo_mass}, {"anti_mass", p.anti_mass},        {"stereo_rank", p.stereo_rank},
          {"anti_rank", p.anti_rank},     {"stereo_gap", p.stereo_gap_nats}, {"anti_gap", p.anti_gap_nats}};
}

CriticalPosition position_from(const Json& json) {
  return {json.at("stereo_mass"), json.at("anti_mass"),  json.at("stereo_rank"),
          json.at("anti_rank"),   json.at("stereo_gap"), json.at("anti_gap")};
}

// Neighbouring items up to a number of tokens.
template <typename Size>
std::vector<std::span<const int64_t>> batches_of(std::span<const int64_t> items, Size&& tokens_of) {
  std::vector<std::span<const int64_t>> batches;
  size_t begin = 0;
  int64_t tokens = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    const int64_t own = tokens_of(items[i]);
    if (i > begin && tokens + own > kBatchTokens) {
      batches.push_back(items.subspan(begin, i - begin));
      begin = i;
      tokens = 0;
    }
    tokens += own;
  }
  if (begin < items.size()) batches.push_back(items.subspan(begin));
  return batches;
}

}  // namespace

std::string Decoding::name() const {
  if (sampling.temperature == 0) return fmt::format("greedy-{}", max_new_tokens);
  return fmt::format("{}-t{}-p{}-{}", samples, sampling.temperature, sampling.top_p, max_new_tokens);
}

TransferRuns::TransferRuns(const Scorer& scorer, const Tokenizer& tokenizer, const TransferPrompts& prompts,
                           Store* store, uint64_t seed, const Progress& progress)
    : scorer_(scorer),
      tokenizer_(tokenizer),
      prompts_(prompts),
      store_(store),
      seed_(seed),
      progress_(progress),
      end_tokens_(fare::end_tokens(scorer.model().checkpoint())) {
  if (store_ != nullptr) {
    fingerprint_ = scorer.model().routed().fingerprint();
    finished_ = store_->units();
  }
}

std::string TransferRuns::unit_name(const std::string& task, std::span<const int64_t> items,
                                    const Intervention* intervention) const {
  Sha256 hash;
  for (const int64_t i : items) hash.add(prompts_.items[static_cast<size_t>(i)].key);
  const std::string key = intervention_key(intervention);
  return task + "/" + hash.hex().substr(0, 16) + "/" + (key.empty() ? "base" : key);
}

std::vector<std::vector<CriticalPosition>> TransferRuns::critical(std::span<const int64_t> items,
                                                                  std::span<const Intervention* const> interventions) {
  std::vector<std::vector<CriticalPosition>> out(interventions.size());
  const auto batches = batches_of(
      items, [&](int64_t i) { return static_cast<int64_t>(prompts_.items[static_cast<size_t>(i)].critical.size()); });
  for (size_t b = 0; b < batches.size(); ++b) {
    progress_.check();
    critical_batch(batches[b], interventions, out);
    progress_("critical positions", static_cast<int64_t>(b + 1), static_cast<int64_t>(batches.size()));
  }
  return out;
}

void TransferRuns::critical_batch(std::span<const int64_t> items, std::span<const Intervention* const> interventions,
                                  std::span<std::vector<CriticalPosition>> out) {
  const auto row_key = [&](int64_t i, size_t e) {
    return RowKey{fingerprint_,  intervention_key(interventions[e]),
                  kCriticalTask, prompts_.items[static_cast<size_t>(i)].key,
                  "mass",        0};
  };
  // The run without edits is made once, when something is missing.
  const Model& model = scorer_.model();
  const DecoderSpec& spec = model.spec();
  std::vector<Request> requests;
  std::vector<FedRequest> fed;
  std::vector<int64_t> indices;
  PackedSequences packed;
  std::unique_ptr<RunRecord> record;
  std::vector<int32_t> last_rows;
  const auto run_base = [&] {
    std::vector<Sequence> sequences;
    for (const int64_t i : items) {
      const TransferPrompt& item = prompts_.items[static_cast<size_t>(i)];
      Request request;
      request.id = item.open.id;
      request.context = item.critical;
      FedRequest part;
      part.ids = item.critical;
      part.num_context = static_cast<int64_t>(part.ids.size());
      requests.push_back(std::move(request));
      fed.push_back(std::move(part));
      indices.push_back(static_cast<int64_t>(indices.size()));
    }
    for (const FedRequest& part : fed) {
      const int64_t length = static_cast<int64_t>(part.ids.size());
      sequences.push_back(
          {part.ids,
           {},
           spec.rope.depends_on_length() ? static_cast<int32_t>(std::max(length, spec.rope.length_threshold())) : 0});
    }
    packed = pack_sequences(sequences, false);
    for (const auto& rows : packed.rows) last_rows.push_back(rows.back());
    record = std::make_unique<RunRecord>(spec.is_moe);
    ForwardOptions options;
    options.record = record.get();
    forward(model, packed.pack, options);
    rows_computed_ += packed.pack.num_rows() * spec.num_layers;
  };
  for (size_t e = 0; e < interventions.size(); ++e) {
    const std::string unit = unit_name(kCriticalTask, items, interventions[e]);
    if (store_ != nullptr && finished_.contains(unit)) {
      for (const int64_t i : items) {
        const auto text = store_->get(row_key(i, e));
        FARE_CHECK(text.has_value(), "a finished unit misses a row");
        out[e].push_back(position_from(Json::parse(*text)));
      }
      continue;
    }
    const at::NoGradGuard no_grad;
    if (!record) run_base();
    const bool edits_nothing = interventions[e] == nullptr || interventions[e]->edits.empty();
    ChangedRows changed;
    if (!edits_nothing) {
      interventions[e]->check(model.routed());
      changed =
          forward_changed(model, packed.pack, *record,
                          scoped_edits(*interventions[e], model.routed(), requests, indices, fed, packed), nullptr);
      rows_computed_ += changed.row_layers;
    }
    std::vector<Row> rows;
    const int64_t block = std::clamp<int64_t>((int64_t{16} << 20) / spec.vocab_size, 16, 1024);
    for (size_t begin = 0; begin < items.size(); begin += static_cast<size_t>(block)) {
      const size_t end = std::min(items.size(), begin + static_cast<size_t>(block));
      // Rows that an edit leaves alone are those of the base run.
      std::vector<int32_t> kept, moved;
      std::vector<std::pair<bool, int64_t>> place;
      for (size_t i = begin; i < end; ++i) {
        const auto found = std::lower_bound(changed.rows.begin(), changed.rows.end(), last_rows[i]);
        if (found != changed.rows.end() && *found == last_rows[i]) {
          place.emplace_back(true, static_cast<int64_t>(moved.size()));
          moved.push_back(static_cast<int32_t>(found - changed.rows.begin()));
        } else {
          place.emplace_back(false, static_cast<int64_t>(kept.size()));
          kept.push_back(last_rows[i]);
        }
      }
      at::Tensor from_base, from_edit;
      if (!kept.empty()) from_base = log_probabilities(model, record->h_TD, kept).contiguous();
      if (!moved.empty()) from_edit = log_probabilities(model, changed.h_AD, moved).contiguous();
      for (size_t i = begin; i < end; ++i) {
        const auto [was_moved, row] = place[i - begin];
        const TransferPrompt& item = prompts_.items[static_cast<size_t>(items[i])];
        const CriticalPosition position = read_position((was_moved ? from_edit : from_base)[row], item);
        out[e].push_back(position);
        rows.push_back({row_key(items[i], e), to_json(position).dump()});
      }
    }
    if (store_ != nullptr) {
      store_->put_unit(unit, rows);
      finished_.insert(unit);
    }
  }
}

std::vector<std::vector<WrittenText>> TransferRuns::write(std::span<const int64_t> items, const Decoding& decoding,
                                                          const Intervention* intervention) {
  std::vector<std::vector<WrittenText>> out;
  const auto batches = batches_of(items, [&](int64_t i) {
    return static_cast<int64_t>(prompts_.items[static_cast<size_t>(i)].prompt.ids.size()) +
           decoding.samples * decoding.max_new_tokens;
  });
  for (size_t b = 0; b < batches.size(); ++b) {
    progress_.check();
    for (auto& texts : write_batch(batches[b], decoding, intervention)) out.push_back(std::move(texts));
    progress_("generation", static_cast<int64_t>(b + 1), static_cast<int64_t>(batches.size()));
  }
  return out;
}

std::vector<std::vector<WrittenText>> TransferRuns::write_batch(std::span<const int64_t> items,
                                                                const Decoding& decoding,
                                                                const Intervention* intervention) {
  const std::string task = "generation/" + decoding.name(), unit = unit_name(task, items, intervention);
  const bool is_base = intervention_key(intervention).empty();
  const auto row_key = [&](int64_t i) {
    return RowKey{
        fingerprint_, intervention_key(intervention), task, prompts_.items[static_cast<size_t>(i)].key, "text", seed_};
  };
  std::vector<std::vector<WrittenText>> out(items.size());
  const auto set_text = [&](WrittenText& one) {
    one.ended =
        !one.ids.empty() && std::find(end_tokens_.begin(), end_tokens_.end(), one.ids.back()) != end_tokens_.end();
    one.text = tokenizer_.decode(std::span(one.ids).first(one.ids.size() - (one.ended ? 1 : 0)), true);
  };
  if (store_ != nullptr && finished_.contains(unit)) {
    for (size_t i = 0; i < items.size(); ++i) {
      const auto value = store_->get(row_key(items[i]));
      FARE_CHECK(value.has_value(), "a finished unit misses a row");
      for (const Json& one : Json::parse(*value)) {
        WrittenText text;
        text.ids = one.at("ids").get<std::vector<int32_t>>();
        text.base_nats_per_token = one.at("base_nats_per_token");
        set_text(text);
        out[i].push_back(std::move(text));
      }
    }
    return out;
  }
  std::vector<Prompt> prompts;
  for (const int64_t i : items) prompts.push_back(prompts_.items[static_cast<size_t>(i)].prompt);
  GenerateOptions options;
  options.max_new_tokens = decoding.max_new_tokens;
  options.samples = decoding.samples;
  options.sampling = decoding.sampling;
  options.seed = seed_;
  options.eos = end_tokens_;
  options.max_length = scorer_.max_length();
  const GenerateResult generated =
      generate(scorer_.model(), nullptr, prompts, options, is_base ? nullptr : intervention,
               Progress{nullptr, nullptr, progress_.cancelled});
  rows_computed_ += generated.receipt.tokens * scorer_.model().spec().num_layers;
  std::vector<Request> requests;  // of edited texts, to see how likely the model without edits finds them
  for (const GeneratedText& text : generated.texts) {
    WrittenText one;
    one.ids = text.token_ids;
    set_text(one);
    double nats = 0;
    for (const double logprob : text.token_logprobs_nats) nats -= logprob;
    one.base_nats_per_token = nats / static_cast<double>(text.token_ids.size());
    const Prompt& prompt = prompts[static_cast<size_t>(text.prompt)];
    if (!is_base) requests.push_back({prompt.id, prompt.ids, text.token_ids, {}, false});
    out[static_cast<size_t>(text.prompt)].push_back(std::move(one));
  }
  if (!requests.empty()) {
    const ScorerResult scored = scorer_.run(requests, {}, {}, Progress{nullptr, nullptr, progress_.cancelled});
    rows_computed_ += scored.rows_computed;
    size_t next = 0;
    for (auto& texts : out)
      for (WrittenText& text : texts)
        text.base_nats_per_token = -scored.base.scores[next++].logprob_nats / static_cast<double>(text.ids.size());
  }
  if (store_ != nullptr) {
    std::vector<Row> rows;
    for (size_t i = 0; i < items.size(); ++i) {
      Json value = Json::array();
      for (const WrittenText& text : out[i])
        value.push_back({{"ids", text.ids}, {"base_nats_per_token", text.base_nats_per_token}});
      rows.push_back({row_key(items[i]), value.dump()});
    }
    store_->put_unit(unit, rows);
    finished_.insert(unit);
  }
  return out;
}

}  // namespace fare
