#include "fare/scoring/generate.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>

#include "fare/checkpoint/config_reader.h"
#include "fare/core/error.h"
#include "fare/models/forward.h"
#include "fare/routing/receipt_sums.h"
#include "fare/routing/selector.h"
#include "fare/scoring/generation_pack.h"
#include "fare/scoring/prefix_tree.h"
#include "fare/scoring/request.h"
#include "fare/scoring/scope.h"

namespace fare {
namespace {

// A prompt after truncation, in the form that scopes and sharing marks are made from.
struct FedPrompt {
  Request request;  // id and context only
  FedRequest fed;
};

void check_options(const GenerateOptions& options, const Tokenizer* tokenizer) {
  const auto wrong = [](const std::string& what) { throw UsageError(what); };
  if (options.max_new_tokens < 1) wrong("--max-new-tokens must be at least 1");
  if (options.samples < 1) wrong("--samples must be at least 1");
  if (!(options.sampling.temperature >= 0) || options.sampling.temperature > std::numeric_limits<double>::max())
    wrong("--temperature must be a finite number, 0 (greedy) or more");
  if (!(options.sampling.top_p > 0 && options.sampling.top_p <= 1)) wrong("--top-p must lie in (0, 1]");
  for (const std::string& stop : options.stop)
    if (stop.empty()) wrong("--stop: an empty text would end every text at once");
  if (!options.stop.empty() && tokenizer == nullptr) wrong("--stop needs a tokenizer, to see the text");
}

std::vector<FedPrompt> fed_prompts(std::span<const Prompt> prompts, int64_t room, int64_t vocab_size) {
  std::vector<FedPrompt> result;
  for (const Prompt& prompt : prompts) {
    const std::string name = "prompt '" + prompt.id + "'";
    if (prompt.ids.empty()) throw UsageError(name + " has no tokens; give a prefix token (--prefix-token ID) to begin with");
    for (const int32_t id : prompt.ids)
      if (id < 0 || id >= vocab_size)
        throw ModelMismatch(name + ": token id " + std::to_string(id) + " lies outside the vocabulary of " +
                            std::to_string(vocab_size));
    FedPrompt one;
    one.fed.truncated = std::max<int64_t>(0, static_cast<int64_t>(prompt.ids.size()) - room);
    one.fed.ids.assign(prompt.ids.begin() + one.fed.truncated, prompt.ids.end());
    one.fed.num_context = static_cast<int64_t>(one.fed.ids.size());
    one.request.id = prompt.id;
    one.request.context = prompt.ids;
    result.push_back(std::move(one));
  }
  return result;
}

// A text that still grows.
struct LiveText {
  size_t text = 0;       // index into the result
  size_t prompt = 0;     // index into the unit
  int32_t segment = -1;  // its last segment in the pack
};

class UnitGenerator {
 public:
  UnitGenerator(const Model& model, const Tokenizer* tokenizer, const GenerateOptions& options,
                const Intervention* intervention, Receipt& receipt)
      : model_(model), tokenizer_(tokenizer), options_(options), intervention_(intervention), receipt_(receipt),
        looks_back_(intervention == nullptr ? 0 : looks_back(*intervention)), routed_(model.routed()),
        cache_(model.spec().num_layers) {}

  // texts[prompt * samples + sample] is filled for each of `prompts`' indices.
  void run(std::span<const FedPrompt> all, std::span<const int64_t> prompts, std::vector<GeneratedText>& texts,
           const Progress& progress, int64_t& tokens_done, int64_t tokens_total) {
    for (const int64_t p : prompts) {
      prompts_.push_back(&all[static_cast<size_t>(p)]);
      indices_.push_back(p);
    }
    std::vector<LiveText> live;
    at::Tensor logits = feed_prompts(texts, live);
    for (int64_t step = 0; !live.empty(); ++step) {
      progress.check();
      choose(logits, step, live, texts);
      tokens_done += static_cast<int64_t>(live.size());
      const size_t before = live.size();
      std::erase_if(live, [&](const LiveText& one) { return ended(texts[one.text]); });
      const auto left = options_.max_new_tokens - step - 1;
      tokens_done += static_cast<int64_t>(before - live.size()) * left;
      progress("generating", tokens_done, tokens_total);
      if (!live.empty()) logits = feed_tokens(texts, live, step);
    }
  }

 private:
  // All prompts of the unit, shared beginnings once. Gives logits of one row per live text.
  at::Tensor feed_prompts(std::vector<GeneratedText>& texts, std::vector<LiveText>& live) {
    std::vector<std::vector<uint32_t>> marks(prompts_.size());
    std::vector<Sequence> sequences;
    for (size_t i = 0; i < prompts_.size(); ++i) {
      if (intervention_ != nullptr)
        marks[i] = sharing_marks(*intervention_, prompts_[i]->request, prompts_[i]->fed, indices_[i]);
      sequences.push_back({prompts_[i]->fed.ids, marks[i], rope_length(prompts_[i]->fed.num_context)});
    }
    // In prefix order, so that sharing is complete.
    std::vector<const FedPrompt*> prompts;
    std::vector<int64_t> indices;
    std::vector<Sequence> ordered;
    for (const int64_t i : prefix_order(sequences)) {
      prompts.push_back(prompts_[static_cast<size_t>(i)]);
      indices.push_back(indices_[static_cast<size_t>(i)]);
      ordered.push_back(sequences[static_cast<size_t>(i)]);
    }
    prompts_ = prompts;
    indices_ = indices;

    PackedSequences packed = pack_sequences(ordered);
    for (int32_t& times : packed.pack.multiplicity) times *= static_cast<int32_t>(options_.samples);
    std::vector<int32_t> last_rows;
    for (const auto& rows : packed.rows) last_rows.push_back(rows.back());
    const std::vector<int32_t> segment_of = cut_after(packed.pack.segments, last_rows);
    segments_ = packed.pack.segments;

    LayerEdits edits;
    std::vector<Request> requests;
    std::vector<FedRequest> fed;
    if (intervention_ != nullptr) {
      for (const FedPrompt* prompt : prompts_) {
        requests.push_back(prompt->request);
        fed.push_back(prompt->fed);
      }
      edits = scoped_edits(*intervention_, routed_, requests, indices_, fed, packed);
    }
    Receipt receipt;
    const at::Tensor h_TD = run_pack(packed.pack, edits, receipt);
    if (intervention_ != nullptr) recount_scope(*intervention_, requests, fed, options_.samples, receipt);
    receipt_ += receipt;
    std::vector<int64_t> rows;
    for (size_t i = 0; i < prompts_.size(); ++i) {
      receipt_.tokens += prompts_[i]->fed.num_context * options_.samples;
      for (int64_t s = 0; s < options_.samples; ++s) {
        const size_t text = static_cast<size_t>(indices_[i] * options_.samples + s);
        texts[text].prompt_tokens = prompts_[i]->fed.num_context;
        texts[text].truncated_tokens = prompts_[i]->fed.truncated;
        live.push_back({text, i, segment_of[i]});
        rows.push_back(static_cast<int64_t>(i));
      }
    }
    const at::Tensor logits_PV = model_.head(h_TD.index_select(0, at::tensor(at::ArrayRef<int32_t>(last_rows), at::kInt)));
    return logits_PV.index_select(0, at::tensor(at::ArrayRef<int64_t>(rows), at::kLong)).contiguous();
  }

  // The token each live text got at `step`; logits of one row per live text.
  at::Tensor feed_tokens(const std::vector<GeneratedText>& texts, std::vector<LiveText>& live, int64_t step) {
    Pack pack;
    std::vector<GeneratedRow> rows;
    int32_t row = static_cast<int32_t>(cache_.num_rows());
    for (LiveText& one : live) {
      const FedPrompt& prompt = *prompts_[one.prompt];
      const int64_t position = prompt.fed.num_context + step;
      pack.token_ids.push_back(texts[one.text].token_ids.back());
      pack.positions.push_back(static_cast<int32_t>(position));
      pack.multiplicity.push_back(1);
      // Frequencies that depend on the length are those of the text as long as it is now.
      if (const int32_t length = rope_length(position + 1); length > 0) pack.length.push_back(length);
      segments_.push_back({row++, 1, one.segment});
      one.segment = static_cast<int32_t>(segments_.size()) - 1;
      rows.push_back({&prompt.request.id, last_fed(prompt, texts[one.text].token_ids, step), prompt.fed.truncated + position});
    }
    pack.segments = segments_;
    receipt_.tokens += pack.num_rows();
    LayerEdits edits;
    if (intervention_ != nullptr) edits = generated_edits(*intervention_, routed_, rows);
    return model_.head(run_pack(pack, edits, receipt_)).contiguous();
  }

  // The last fed tokens of a growing text, as far as the edits look back: its first `step` + 1 own tokens, before them the
  // prompt.
  std::vector<int32_t> last_fed(const FedPrompt& prompt, const std::vector<int32_t>& own, int64_t step) const {
    const int64_t total = static_cast<int64_t>(prompt.fed.ids.size()) + step + 1;
    std::vector<int32_t> fed;
    for (int64_t t = std::max<int64_t>(0, total - 1 - looks_back_); t < total; ++t) {
      const int64_t in_own = t - static_cast<int64_t>(prompt.fed.ids.size());
      fed.push_back(in_own < 0 ? prompt.fed.ids[static_cast<size_t>(t)] : own[static_cast<size_t>(in_own)]);
    }
    return fed;
  }

  at::Tensor run_pack(const Pack& pack, const LayerEdits& edits, Receipt& receipt) {
    ForwardOptions options;
    options.cache = &cache_;
    if (intervention_ != nullptr) {
      options.edits = &edits;
      options.receipt = &receipt;
    }
    return forward(model_, pack, options);
  }

  void choose(const at::Tensor& logits, int64_t step, const std::vector<LiveText>& live,
              std::vector<GeneratedText>& texts) const {
    const int64_t vocab_size = logits.size(1);
    const float* data = logits.const_data_ptr<float>();
    at::parallel_for(0, static_cast<int64_t>(live.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        GeneratedText& text = texts[live[static_cast<size_t>(i)].text];
        const std::string& id = prompts_[live[static_cast<size_t>(i)].prompt]->request.id;
        const RandomStream noise(options_.seed, "generate/" + id, static_cast<uint32_t>(text.sample),
                                 static_cast<uint32_t>(step));
        const ChosenToken chosen = choose_token({data + i * vocab_size, static_cast<size_t>(vocab_size)},
                                                options_.sampling, noise);
        text.token_ids.push_back(chosen.token);
        text.token_logprobs_nats.push_back(chosen.logprob_nats);
      }
    });
  }

  // Whether the last token ended the text; then its text is set.
  bool ended(GeneratedText& text) const {
    const bool eos = std::find(options_.eos.begin(), options_.eos.end(), text.token_ids.back()) != options_.eos.end();
    const bool full = static_cast<int64_t>(text.token_ids.size()) == options_.max_new_tokens;
    if (tokenizer_ != nullptr && (eos || full || !options_.stop.empty())) {
      const std::span<const int32_t> ids(text.token_ids.data(), text.token_ids.size() - (eos ? 1 : 0));
      text.text = tokenizer_->decode(ids, true);
      bool stopped = false;
      for (const std::string& stop : options_.stop) {
        const size_t place = text.text.find(stop);
        if (place == std::string::npos) continue;
        text.text.resize(place);
        stopped = true;
      }
      if (stopped) text.finish = Finish::kStop;
      if (stopped) return true;
    }
    if (eos) text.finish = Finish::kEos;
    return eos || full;
  }

  int32_t rope_length(int64_t length) const {
    const RopeSpec& rope = model_.spec().rope;
    return rope.depends_on_length() ? static_cast<int32_t>(std::max(length, rope.length_threshold())) : 0;
  }

  const Model& model_;
  const Tokenizer* tokenizer_;
  const GenerateOptions& options_;
  const Intervention* intervention_;
  Receipt& receipt_;
  int64_t looks_back_;
  const RoutedModel routed_;
  KvCache cache_;
  std::vector<const FedPrompt*> prompts_;  // of the unit
  std::vector<int64_t> indices_;           // of them in the whole run
  std::vector<Segment> segments_;          // of all rows in the cache
};

Json text_json(const GeneratedText& text) {
  return {{"token_ids", text.token_ids},
          {"token_logprobs_nats", text.token_logprobs_nats},
          {"text", text.text},
          {"finish", static_cast<int>(text.finish)},
          {"prompt_tokens", text.prompt_tokens},
          {"truncated_tokens", text.truncated_tokens}};
}

GeneratedText text_from(const Json& json) {
  GeneratedText text;
  text.token_ids = json.at("token_ids").get<std::vector<int32_t>>();
  text.token_logprobs_nats = json.at("token_logprobs_nats").get<std::vector<double>>();
  text.text = json.at("text").get<std::string>();
  text.finish = static_cast<Finish>(json.at("finish").get<int>());
  text.prompt_tokens = json.at("prompt_tokens").get<int64_t>();
  text.truncated_tokens = json.at("truncated_tokens").get<int64_t>();
  return text;
}

// Prompts cut into units: neighbours share beginnings; a unit's rows are its prompts' and those its texts may get.
std::vector<std::vector<int64_t>> units_of(std::span<const FedPrompt> prompts, const GenerateOptions& options) {
  std::vector<Sequence> sequences;
  for (const FedPrompt& prompt : prompts) sequences.push_back({prompt.fed.ids, {}, 0});
  std::vector<std::vector<int64_t>> units;
  int64_t rows = 0;
  for (const int64_t i : prefix_order(sequences)) {
    const int64_t own = prompts[static_cast<size_t>(i)].fed.num_context + options.samples * options.max_new_tokens;
    if (units.empty() || rows + own > options.unit_rows) {
      units.emplace_back();
      rows = 0;
    }
    units.back().push_back(i);
    rows += own;
  }
  return units;
}

}  // namespace

const char* finish_name(Finish finish) {
  return finish == Finish::kLength ? "length" : finish == Finish::kEos ? "eos" : "stop";
}

GenerateResult generate(const Model& model, const Tokenizer* tokenizer, std::span<const Prompt> prompts,
                        const GenerateOptions& options, const Intervention* intervention, const Progress& progress) {
  OneRank alone;
  return generate_divided(model, tokenizer, prompts, options, intervention, alone, progress);
}

GenerateResult generate_divided(const Model& model, const Tokenizer* tokenizer, std::span<const Prompt> prompts,
                                const GenerateOptions& options, const Intervention* intervention, Ranks& ranks,
                                const Progress& progress) {
  const at::NoGradGuard no_grad;
  check_options(options, tokenizer);
  if (intervention != nullptr) {
    intervention->check(model.routed());
    for (size_t i = 0; i < intervention->edits.size(); ++i)
      if (std::holds_alternative<ForceRoutes>(intervention->edits[i].op))
        throw ModelMismatch("edit " + std::to_string(i) + " (force_routes): stored routes cannot be replayed while text is "
                            "generated; use fare score");
  }
  const int64_t length = options.max_length > 0 ? options.max_length : model.spec().max_positions;
  if (options.max_new_tokens >= length)
    throw ModelMismatch("--max-new-tokens " + std::to_string(options.max_new_tokens) + " leaves no room for a prompt in the "
                        "context length " + std::to_string(length) + "; ask for fewer or raise --max-length");
  const std::vector<FedPrompt> fed = fed_prompts(prompts, length - options.max_new_tokens, model.spec().vocab_size);

  GenerateResult result;
  for (size_t p = 0; p < prompts.size(); ++p)
    for (int64_t s = 0; s < options.samples; ++s) {
      result.texts.emplace_back();
      result.texts.back().prompt = static_cast<int64_t>(p);
      result.texts.back().sample = s;
    }
  const int64_t total = static_cast<int64_t>(result.texts.size()) * options.max_new_tokens;
  int64_t done = 0;
  const auto units = units_of(fed, options);
  std::vector<double> costs;
  for (const std::vector<int64_t>& unit : units) {
    double rows = 0;
    for (const int64_t p : unit)
      rows += static_cast<double>(fed[static_cast<size_t>(p)].fed.num_context + options.samples * options.max_new_tokens);
    costs.push_back(rows);
  }
  const auto text_of = [&](int64_t prompt, int64_t sample) -> GeneratedText& {
    return result.texts[static_cast<size_t>(prompt * options.samples + sample)];
  };
  const auto parts = divide(ranks, costs, [&](size_t u, int64_t started) {
    Receipt receipt;
    UnitGenerator generator(model, tokenizer, options, intervention, receipt);
    const Progress quiet{nullptr, nullptr, progress.cancelled};
    generator.run(fed, units[u], result.texts, ranks.size() == 1 ? progress : quiet, done, total);
    if (ranks.size() > 1) progress("generating", started, static_cast<int64_t>(units.size()));
    Json part = {{"receipt", receipt_sums(receipt)}, {"texts", Json::array()}};
    for (const int64_t p : units[u])
      for (int64_t s = 0; s < options.samples; ++s) part["texts"].push_back(text_json(text_of(p, s)));
    return part.dump();
  });
  for (size_t u = 0; u < units.size(); ++u) {
    const Json part = Json::parse(parts[u]);
    result.receipt += receipt_from(part.at("receipt"));
    size_t next = 0;
    for (const int64_t p : units[u])
      for (int64_t s = 0; s < options.samples; ++s) {
        GeneratedText& text = text_of(p, s);
        text = text_from(part.at("texts")[next++]);
        text.prompt = p;
        text.sample = s;
      }
  }
  return result;
}

std::vector<int32_t> end_tokens(const Checkpoint& checkpoint) {
  const auto read = [](const Json& config, const std::filesystem::path& path) {
    std::vector<int32_t> ids;
    const ConfigReader reader(config, path.string());
    for (const int64_t id : reader.int_or_list("eos_token_id", {0, std::numeric_limits<int32_t>::max()}))
      ids.push_back(static_cast<int32_t>(id));
    return ids;
  };
  const std::filesystem::path path = checkpoint.folder() / "generation_config.json";
  if (std::filesystem::exists(path)) {
    const Json config = read_json_file(path);
    if (!config.is_object()) throw FormatError(path.string(), "", "is not a JSON object");
    if (std::vector<int32_t> ids = read(config, path); !ids.empty()) return ids;
  }
  return read(checkpoint.config(), checkpoint.config_path());
}

}  // namespace fare
