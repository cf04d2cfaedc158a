#include "fare/scoring/generate.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "fare/checkpoint/config_reader.h"
#include "fare/core/error.h"
#include "fare/models/forward.h"
#include "fare/routing/parallel_rows.h"
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
    if (prompt.ids.empty())
      throw UsageError(name + " has no tokens; give a prefix token (--prefix-token ID) to begin with");
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
  size_t text = 0;  // index into the result
  const FedPrompt* prompt = nullptr;
  int32_t segment = -1;  // its last segment in the cache
};

// Rows that a prompt and all tokens its texts may get take.
int64_t rows_of(const FedPrompt& prompt, const GenerateOptions& options) {
  return prompt.fed.num_context + options.samples * options.max_new_tokens;
}

// Continues prompts with one cache of keys and values after another, each of `unit_rows` rows. Prompts enter as long as
// there is room for all tokens their texts may get; when texts end early and half of them are gone, the next prompts
// enter together, so that they share their beginnings and each pass over the weights serves many rows.
class Continuation {
 public:
  Continuation(const Model& model, const Tokenizer* tokenizer, const GenerateOptions& options,
               const Intervention* intervention, Receipt& receipt)
      : model_(model),
        tokenizer_(tokenizer),
        options_(options),
        intervention_(intervention),
        receipt_(receipt),
        looks_back_(intervention == nullptr ? 0 : looks_back(*intervention)),
        routed_(model.routed()),
        cache_(model.spec().num_layers) {}

  // texts[prompt * samples + sample] is filled for each of `waiting`: indices of prompts, neighbours sharing
  // beginnings.
  void run(std::span<const FedPrompt> all, std::span<const int64_t> waiting, std::vector<GeneratedText>& texts,
           const Progress& progress, int64_t& tokens_done, int64_t tokens_total) {
    std::vector<LiveText> live;
    size_t widest = 0;  // texts at once with this cache
    at::Tensor logits;  // a row for each live text
    while (!live.empty() || !waiting.empty()) {
      progress.check();
      if (live.empty()) {
        cache_ = KvCache(model_.spec().num_layers);
        segments_.clear();
        widest = 0;
        logits = at::Tensor();
      } else {
        logits = feed_tokens(texts, live);
      }
      if (2 * live.size() <= widest || live.empty()) {
        const size_t count = entering(all, waiting, texts, live);
        if (count > 0) {
          const at::Tensor entered = feed_prompts(all, waiting.first(count), texts, live);
          logits = logits.defined() ? at::cat({logits, entered}) : entered;
          waiting = waiting.subspan(count);
        }
      }
      widest = std::max(widest, live.size());
      choose(logits, live, texts);
      tokens_done += static_cast<int64_t>(live.size());
      std::erase_if(live, [&](const LiveText& one) {
        if (!ended(texts[one.text])) return false;
        tokens_done += left(texts[one.text]);
        return true;
      });
      progress("generating", tokens_done, tokens_total);
    }
  }

 private:
  // Tokens that a text may still get.
  int64_t left(const GeneratedText& text) const {
    return options_.max_new_tokens - static_cast<int64_t>(text.token_ids.size());
  }

  // How many of the waiting prompts there is room for; at least one in an empty cache.
  size_t entering(std::span<const FedPrompt> all, std::span<const int64_t> waiting,
                  const std::vector<GeneratedText>& texts, const std::vector<LiveText>& live) const {
    int64_t rows = cache_.num_rows();
    for (const LiveText& one : live) rows += left(texts[one.text]);
    size_t count = 0;
    for (const int64_t p : waiting) {
      rows += rows_of(all[static_cast<size_t>(p)], options_);
      if (rows > options_.unit_rows && (count > 0 || !live.empty())) break;
      ++count;
    }
    return count;
  }

  // Prompts, beginnings that these share once. Gives logits of one row for each of their texts, which become live.
  at::Tensor feed_prompts(std::span<const FedPrompt> all, std::span<const int64_t> entered,
                          std::vector<GeneratedText>& texts, std::vector<LiveText>& live) {
    std::vector<std::vector<uint32_t>> marks(entered.size());
    std::vector<Sequence> sequences;
    for (size_t i = 0; i < entered.size(); ++i) {
      const FedPrompt& prompt = all[static_cast<size_t>(entered[i])];
      if (intervention_ != nullptr) marks[i] = sharing_marks(*intervention_, prompt.request, prompt.fed, entered[i]);
      sequences.push_back({prompt.fed.ids, marks[i], rope_length(prompt.fed.num_context)});
    }
    // In prefix order, so that sharing is complete.
    std::vector<const FedPrompt*> prompts;
    std::vector<int64_t> indices;
    std::vector<Sequence> ordered;
    for (const int64_t i : prefix_order(sequences)) {
      indices.push_back(entered[static_cast<size_t>(i)]);
      prompts.push_back(&all[static_cast<size_t>(indices.back())]);
      ordered.push_back(sequences[static_cast<size_t>(i)]);
    }

    PackedSequences packed = pack_sequences(ordered);
    for (int32_t& times : packed.pack.multiplicity) times *= static_cast<int32_t>(options_.samples);
    std::vector<int32_t> last_rows;
    for (const auto& rows : packed.rows) last_rows.push_back(rows.back());
    std::vector<int32_t> segment_of = cut_after(packed.pack.segments, last_rows);
    // They stand after what the cache holds.
    const int32_t rows_before = static_cast<int32_t>(cache_.num_rows()),
                  segments_before = static_cast<int32_t>(segments_.size());
    for (const Segment& own : packed.pack.segments)
      segments_.push_back(
          {own.first_row + rows_before, own.num_rows, own.parent < 0 ? -1 : own.parent + segments_before});
    for (int32_t& segment : segment_of) segment += segments_before;
    packed.pack.segments = segments_;

    LayerEdits edits;
    std::vector<Request> requests;
    std::vector<FedRequest> fed;
    if (intervention_ != nullptr) {
      for (const FedPrompt* prompt : prompts) {
        requests.push_back(prompt->request);
        fed.push_back(prompt->fed);
      }
      edits = scoped_edits(*intervention_, routed_, requests, indices, fed, packed);
    }
    Receipt receipt;
    const at::Tensor h_TD = run_pack(packed.pack, edits, receipt);
    if (intervention_ != nullptr) recount_scope(*intervention_, requests, fed, options_.samples, receipt);
    receipt_ += receipt;
    std::vector<int64_t> rows;
    for (size_t i = 0; i < prompts.size(); ++i) {
      receipt_.tokens += prompts[i]->fed.num_context * options_.samples;
      for (int64_t sample = 0; sample < options_.samples; ++sample) {
        const size_t text = static_cast<size_t>(indices[i] * options_.samples + sample);
        texts[text].prompt_tokens = prompts[i]->fed.num_context;
        texts[text].truncated_tokens = prompts[i]->fed.truncated;
        live.push_back({text, prompts[i], segment_of[i]});
        rows.push_back(static_cast<int64_t>(i));
      }
    }
    const at::Tensor logits_PV =
        model_.head(h_TD.index_select(0, at::tensor(at::ArrayRef<int32_t>(last_rows), at::kInt)));
    return logits_PV.index_select(0, at::tensor(at::ArrayRef<int64_t>(rows), at::kLong)).contiguous();
  }

  // The last token of each live text; logits of one row per live text.
  at::Tensor feed_tokens(const std::vector<GeneratedText>& texts, std::vector<LiveText>& live) {
    Pack pack;
    std::vector<GeneratedRow> rows;
    int32_t row = static_cast<int32_t>(cache_.num_rows());
    for (LiveText& one : live) {
      const FedPrompt& prompt = *one.prompt;
      const int64_t step = static_cast<int64_t>(texts[one.text].token_ids.size()) - 1;
      const int64_t position = prompt.fed.num_context + step;
      pack.token_ids.push_back(texts[one.text].token_ids.back());
      pack.positions.push_back(static_cast<int32_t>(position));
      pack.multiplicity.push_back(1);
      // Frequencies that depend on the length are those of the text as long as it is now.
      if (const int32_t length = rope_length(position + 1); length > 0) pack.length.push_back(length);
      segments_.push_back({row++, 1, one.segment});
      one.segment = static_cast<int32_t>(segments_.size()) - 1;
      rows.push_back(
          {&prompt.request.id, last_fed(prompt, texts[one.text].token_ids, step), prompt.fed.truncated + position});
    }
    pack.segments = segments_;
    receipt_.tokens += pack.num_rows();
    LayerEdits edits;
    if (intervention_ != nullptr) edits = generated_edits(*intervention_, routed_, rows);
    return model_.head(run_pack(pack, edits, receipt_)).contiguous();
  }

  // The last fed tokens of a growing text, as far as the edits look back: its first `step` + 1 own tokens, before them
  // the prompt.
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

  void choose(const at::Tensor& logits, const std::vector<LiveText>& live, std::vector<GeneratedText>& texts) const {
    const int64_t vocab_size = logits.size(1);
    const float* data = logits.const_data_ptr<float>();
    parallel_rows(0, static_cast<int64_t>(live.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        GeneratedText& text = texts[live[static_cast<size_t>(i)].text];
        const std::string& id = live[static_cast<size_t>(i)].prompt->request.id;
        const RandomStream noise(options_.seed, "generate/" + id, static_cast<uint32_t>(text.sample),
                                 static_cast<uint32_t>(text.token_ids.size()));
        const ChosenToken chosen =
            choose_token({data + i * vocab_size, static_cast<size_t>(vocab_size)}, options_.sampling, noise);
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
  std::vector<Segment> segments_;  // of all rows in the cache
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

// Prompts cut into parts that are continued each on its own: neighbours share beginnings, and a part fills a few
// caches.
constexpr int64_t kCachesOfPart = 4;
std::vector<std::vector<int64_t>> parts_of(std::span<const FedPrompt> prompts, const GenerateOptions& options) {
  std::vector<Sequence> sequences;
  for (const FedPrompt& prompt : prompts) sequences.push_back({prompt.fed.ids, {}, 0});
  std::vector<std::vector<int64_t>> parts;
  int64_t rows = 0;
  for (const int64_t i : prefix_order(sequences)) {
    const int64_t own = rows_of(prompts[static_cast<size_t>(i)], options);
    if (parts.empty() || rows + own > kCachesOfPart * options.unit_rows) {
      parts.emplace_back();
      rows = 0;
    }
    parts.back().push_back(i);
    rows += own;
  }
  return parts;
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
        throw ModelMismatch("edit " + std::to_string(i) +
                            " (force_routes): stored routes cannot be replayed while text is "
                            "generated; use fare score");
  }
  const int64_t length = options.max_length > 0 ? options.max_length : model.spec().max_positions;
  if (options.max_new_tokens >= length)
    throw ModelMismatch("--max-new-tokens " + std::to_string(options.max_new_tokens) +
                        " leaves no room for a prompt in the "
                        "context length " +
                        std::to_string(length) + "; ask for fewer or raise --max-length");
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
  const auto parts = parts_of(fed, options);
  std::vector<double> costs;
  for (const std::vector<int64_t>& part : parts) {
    double rows = 0;
    for (const int64_t p : part) rows += static_cast<double>(rows_of(fed[static_cast<size_t>(p)], options));
    costs.push_back(rows);
  }
  const auto text_of = [&](int64_t prompt, int64_t sample) -> GeneratedText& {
    return result.texts[static_cast<size_t>(prompt * options.samples + sample)];
  };
  GenerateOptions fitting = options;  // with the rows that the device has memory for, as far as is known
  std::string memory_problem;
  const auto continued = [&](const std::vector<int64_t>& part) {
    const Progress quiet{nullptr, nullptr, progress.cancelled};
    const int64_t done_before = done;
    for (;;) {
      Receipt receipt;
      try {
        Continuation(model, tokenizer, fitting, intervention, receipt)
            .run(fed, part, result.texts, ranks.size() == 1 ? progress : quiet, done, total);
        return receipt;
      } catch (const c10::OutOfMemoryError&) {
        if (model.execution().devices.front().is_cpu()) throw;
        int64_t least = std::numeric_limits<int64_t>::max();
        for (const int64_t p : part) least = std::min(least, rows_of(fed[static_cast<size_t>(p)], options));
        const std::string device = devices_text(model.execution().devices);
        if (fitting.unit_rows <= least)
          throw Error(fmt::format(
              "{} has no memory for the {} rows of one prompt and its texts beside the weights; take a larger device, "
              "more of them, fewer --samples or --dtype bf16",
              device, least));
        if (memory_problem.empty())
          memory_problem = fmt::format("{} has no memory for a cache of {} rows: smaller ones were taken", device,
                                       fitting.unit_rows);
        fitting.unit_rows = std::max(least, fitting.unit_rows / 2);
      }
      done = done_before;
      for (const int64_t p : part)
        for (int64_t s = 0; s < options.samples; ++s) {
          text_of(p, s) = {};
          text_of(p, s).prompt = p;
          text_of(p, s).sample = s;
        }
    }
  };
  const auto written = divide(ranks, costs, [&](size_t i, int64_t started) {
    const Receipt receipt = continued(parts[i]);
    if (ranks.size() > 1) progress("generating", started, static_cast<int64_t>(parts.size()));
    Json part = {{"receipt", receipt_sums(receipt)}, {"memory", memory_problem}, {"texts", Json::array()}};
    for (const int64_t p : parts[i])
      for (int64_t s = 0; s < options.samples; ++s) part["texts"].push_back(text_json(text_of(p, s)));
    return part.dump();
  });
  for (size_t i = 0; i < parts.size(); ++i) {
    const Json part = Json::parse(written[i]);
    result.receipt += receipt_from(part.at("receipt"));
    if (result.memory_problem.empty()) result.memory_problem = part.at("memory").get<std::string>();
    size_t next = 0;
    for (const int64_t p : parts[i])
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
