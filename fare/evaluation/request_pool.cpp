#include "fare/evaluation/request_pool.h"

#include <map>

#include "fare/benchmarks/context_split.h"
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
          const Request compat = encoder.encode(id, text.context, text.continuation);
          PooledRequest entry;
          entry.boundary_merge = compat.boundary_merge;
          entry.compat = entry.fair = pooler.add(compat, t);
          if (compat.boundary_merge) entry.fair = pooler.add(fair_request(tokenizer, text, compat, options.prefix_token), t);
          pooled.push_back(entry);
        } catch (const UsageError& error) {
          throw FormatError("task " + name, "document " + std::to_string(document.doc_id), error.what());
        }
      }
    }
  }
  return std::move(pooler.pool);
}

}  // namespace fare
