#include "fare/evaluation/request_pool.h"

#include <map>

#include "fare/benchmarks/context_split.h"
#include "fare/benchmarks/generation.h"
#include "fare/benchmarks/rolling_windows.h"
#include "fare/core/error.h"
#include "fare/core/sha256.h"
#include "fare/scoring/text_encoder.h"

namespace fare {
namespace {

// The ids in decimal, context and continuation on a line each: what the item's hash is taken of.
std::string item_text(const Request& request, bool share) {
  std::string text;
  for (const auto* part : {&request.context, &request.continuation}) {
    for (const int32_t id : *part) text += std::to_string(id) + " ";
    text += "\n";
  }
  return share ? text : text + request.id;
}

// The prompt's own tokens, cut where their text ends after the border. Where no token of the context is left the prefix
// token stands for it; without one `compat` stays as it is.
Request fair_request(const Tokenizer& tokenizer, const TextRequest& text, const Request& compat,
                     std::optional<int32_t> prefix_token) {
  const TextRequest split = split_context(text.context, text.continuation);
  const std::string whole = split.context + split.continuation;
  const auto bos = tokenizer.bos_text();
  const bool special = !bos || bos->empty() || !whole.starts_with(*bos);
  const Encoding encoding = tokenizer.encode(whole, special);
  size_t cut = 0;
  while (cut < encoding.ids.size() && encoding.offsets[cut].second <= split.context.size()) ++cut;
  if (!prefix_token) prefix_token = tokenizer.bos_id();
  if (!prefix_token) prefix_token = tokenizer.eos_id();
  if ((cut == 0 && !prefix_token) || cut == encoding.ids.size()) return compat;
  Request fair;
  fair.id = compat.id + "/fair";
  if (cut == 0) fair.context = {*prefix_token};
  else fair.context.assign(encoding.ids.begin(), encoding.ids.begin() + static_cast<int64_t>(cut));
  fair.continuation.assign(encoding.ids.begin() + static_cast<int64_t>(cut), encoding.ids.end());
  fair.boundary_merge = true;
  return fair;
}

class Pooler {
 public:
  explicit Pooler(const PoolOptions& options) : options_(options) {}

  size_t add(Request request, size_t task) {
    fed_part(request, options_.max_length, options_.vocab_size);  // refuses what cannot be fed
    const std::string item = sha256_hex(item_text(request, options_.share));
    const auto [found, is_new] = index_.emplace(item, pool.requests.size());
    if (is_new) {
      pool.requests.push_back(std::move(request));
      pool.items.push_back(item);
      pool.tasks.emplace_back();
    }
    pool.tasks[found->second].insert(task);
    return found->second;
  }

  RequestPool pool;

 private:
  const PoolOptions& options_;
  std::map<std::string, size_t> index_;
};

int32_t prefix_of(const Tokenizer& tokenizer, std::optional<int32_t> prefix_token) {
  if (!prefix_token) prefix_token = tokenizer.bos_id();
  if (!prefix_token) prefix_token = tokenizer.eos_id();
  if (!prefix_token)
    throw UsageError("the tokenizer has neither a BOS nor an EOS token to begin with; name one with --prefix-token ID");
  return *prefix_token;
}

// All windows of a text that is scored whole, tokenizer's own special tokens included.
std::vector<Request> window_requests(const Tokenizer& tokenizer, const std::string& id, const std::string& text,
                                     const PoolOptions& options) {
  const auto bos = tokenizer.bos_text();
  const auto ids = tokenizer.ids(text, !bos || bos->empty() || !text.starts_with(*bos));
  if (ids.empty()) throw UsageError("the text has no token");
  std::vector<Request> windows;
  for (const RollingWindow& window : rolling_windows(static_cast<int64_t>(ids.size()), options.max_length)) {
    Request request;
    request.id = id + "/" + std::to_string(windows.size());
    if (window.context_begin < 0) request.context = {prefix_of(tokenizer, options.prefix_token)};
    else request.context.assign(ids.begin() + window.context_begin, ids.begin() + window.score_begin);
    request.continuation.assign(ids.begin() + window.score_begin, ids.begin() + window.score_end);
    windows.push_back(std::move(request));
  }
  return windows;
}

PooledRequest pool_one(const TextRequest& text, const std::string& id, size_t task, const Tokenizer& tokenizer,
                       const TextEncoder& encoder, const PoolOptions& options, Pooler& pooler) {
  PooledRequest entry;
  switch (text.kind) {
    case RequestKind::kLoglikelihood: {
      const Request compat = encoder.encode(id, text.context, text.continuation);
      entry.boundary_merge = compat.boundary_merge;
      entry.compat = entry.fair = pooler.add(compat, task);
      if (compat.boundary_merge)
        entry.fair = pooler.add(fair_request(tokenizer, text, compat, options.prefix_token), task);
      break;
    }
    case RequestKind::kWithoutStart: {
      const auto ids = tokenizer.ids(text.continuation, false);
      if (ids.empty()) throw UsageError("the text has no token");
      if (ids.size() == 1) break;
      entry.compat = entry.fair = pooler.add({id, {ids.front()}, {ids.begin() + 1, ids.end()}, {}, false}, task);
      break;
    }
    case RequestKind::kRolling: {
      for (Request& window : window_requests(tokenizer, id, text.continuation, options)) {
        if (entry.windows.empty()) {
          const auto& before = tokenizer.ids_before_text();
          entry.first_is_bos = !before.empty() && window.continuation.front() == before.front();
        }
        entry.windows.push_back(pooler.add(std::move(window), task));
      }
      break;
    }
    case RequestKind::kGenerate: {
      generation_settings(text.generation);  // refuses what cannot be done
      entry.prompt = pooler.pool.prompts.size();
      pooler.pool.prompts.push_back({{id, encoder.prompt(id, text.context)}, text.generation, task});
      break;
    }
  }
  return entry;
}

}  // namespace

RequestPool pool_requests(const BenchmarkSet& set, const Tokenizer& tokenizer, const PoolOptions& options) {
  const TextEncoder encoder(tokenizer, options.prefix_token);
  Pooler pooler(options);
  for (size_t t = 0; t < set.tasks.size(); ++t) {
    const std::string& name = set.tasks[t].task->info.name;
    auto& documents = pooler.pool.of.emplace_back();
    for (const Document& document : set.tasks[t].data.documents) {
      auto& pooled = documents.emplace_back();
      for (size_t r = 0; r < document.requests.size(); ++r) {
        const TextRequest& text = document.requests[r];
        const std::string id = name + "/" + std::to_string(document.doc_id) + "/" + std::to_string(r);
        try {
          pooled.push_back(pool_one(text, id, t, tokenizer, encoder, options, pooler));
        } catch (const UsageError& error) {
          throw FormatError("task " + name, "document " + std::to_string(document.doc_id), error.what());
        }
      }
    }
  }
  return std::move(pooler.pool);
}

}  // namespace fare
