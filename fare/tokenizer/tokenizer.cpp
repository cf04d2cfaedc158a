#include "fare/tokenizer/tokenizer.h"

#include <algorithm>
#include <limits>

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/tokenizer/added_tokens.h"
#include "fare/tokenizer/checkpoint_settings.h"
#include "fare/tokenizer/normalizer.h"
#include "fare/tokenizer/post_processor.h"
#include "fare/tokenizer/pre_tokenizer.h"
#include "fare/tokenizer/sentencepiece_file.h"
#include "fare/tokenizer/sentencepiece_model.h"
#include "fare/tokenizer/sentencepiece_normalizer.h"
#include "fare/tokenizer/token_decoder.h"
#include "fare/tokenizer/token_model.h"
#include "fare/tokenizer/unicode.h"

namespace fare {

struct Tokenizer::Parts {
  std::unique_ptr<TextNormalizer> normalizer;
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  std::unique_ptr<TokenModel> model;
  std::unique_ptr<AddedTokens> added;
  std::unique_ptr<TokenDecoder> decoder;
  PostProcessor post;
  bool sentencepiece = false;   // read from a tokenizer.model
  bool sources_needed = false;  // by the pre-tokenizer, even where no offsets are asked for
  int64_t vocab_size = 0;
  std::optional<int32_t> bos_id, eos_id, unk_id, pad_id;
  std::optional<std::string> bos_text, eos_text;
  std::vector<int32_t> before, after;
  std::vector<std::string> notes;

  std::optional<int32_t> find(std::string_view token) const {
    if (const AddedToken* found = added->of_content(token)) return found->id;
    return model->vocabulary().find(token);
  }
  const std::string* spelling(int32_t id) const {
    if (const AddedToken* token = added->of_id(id)) return &token->content;
    return model->vocabulary().token(id);
  }
  void read(const JsonNode& root);
  void read_sentencepiece(const SentencePieceFile& file, const std::string& path);
  void set_added(std::vector<AddedToken> tokens, const TextNormalizer* spelling, const std::string& path);
  void check_added(std::vector<AddedToken>& tokens, const JsonNode& node) const;
  void check_ids(const JsonNode& root) const;
  void check_ids(const std::string& path, int64_t limit) const;
  void apply(const CheckpointSettings& settings);
  void set_around();
  std::vector<OutputToken> run(std::string_view text, bool offsets, bool add_special_tokens) const;
};

namespace {

// Positions are kept in 32 bits, and a text can grow on its way.
constexpr size_t kMaxTextBytes = size_t{1} << 29;

// The content of the added tokens, with their ids, where neither is used twice.
Vocabulary contents_of(const std::vector<AddedToken>& tokens) {
  Vocabulary contents;
  for (const auto& token : tokens) contents.add(token.content, token.id);
  return contents;
}

}  // namespace

void Tokenizer::Parts::read(const JsonNode& root) {
  if (!root.json().is_object()) root.fail("expected an object; is this a tokenizer.json?");
  if (const auto version = root.text_if("version"); version && *version != "1.0")
    root.at("version").fail("expected \"1.0\", found '" + *version + "'");
  root.note_other_fields({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                          "post_processor", "decoder", "model"});
  for (const char* key : {"truncation", "padding"})
    if (root.find(key)) root.file().notes.push_back(std::string(key) + " is set in the file and not applied");

  std::vector<AddedToken> tokens;
  const auto added_node = root.find("added_tokens");
  if (added_node) tokens = read_added_tokens(*added_node);
  model = make_token_model(root.at("model"), contents_of(tokens));
  if (added_node) check_added(tokens, *added_node);

  if (const auto node = root.find("normalizer")) normalizer = make_normalizer(*node);
  if (const auto node = root.find("pre_tokenizer")) pre_tokenizer = make_pre_tokenizer(*node);
  if (const auto node = root.find("post_processor")) post = read_post_processor(*node);
  if (const auto node = root.find("decoder")) decoder = make_token_decoder(*node);
  sources_needed = pre_tokenizer != nullptr && pre_tokenizer->needs_sources();
  set_added(std::move(tokens), normalizer.get(), root.path());
  if (post.around)
    for (const int32_t id : *post.around)
      if (id != PostProcessor::kText && spelling(id) == nullptr)
        root.at("post_processor").fail("the template names id " + std::to_string(id) + ", which no token has");
  set_around();
}

void Tokenizer::Parts::read_sentencepiece(const SentencePieceFile& file, const std::string& path) {
  sentencepiece = true;
  model = make_sentencepiece_model(file);
  normalizer = make_sentencepiece_normalizer(file, path);
  decoder = make_sentencepiece_decoder(file);
  notes = file.notes;
  const auto text = [&](const std::optional<int32_t>& id) -> std::optional<std::string> {
    if (!id) return std::nullopt;
    return file.pieces[static_cast<size_t>(*id)].text;
  };
  bos_id = file.bos_id;
  eos_id = file.eos_id;
  pad_id = file.pad_id;
  bos_text = text(bos_id);
  eos_text = text(eos_id);
  set_added({}, nullptr, path);
}

// `spelling` is what their content goes through before it is looked for.
void Tokenizer::Parts::set_added(std::vector<AddedToken> tokens, const TextNormalizer* spelling,
                                 const std::string& path) {
  added = std::make_unique<AddedTokens>(std::move(tokens), spelling, path);
  vocab_size = model->vocabulary().largest_id() + int64_t{1};
  for (const auto& token : added->tokens()) vocab_size = std::max(vocab_size, token.id + int64_t{1});
  unk_id = model->unk_id();
}

// One id a token: content that the model knows keeps the model's id; any other id must be free, and used once.
void Tokenizer::Parts::check_added(std::vector<AddedToken>& tokens, const JsonNode& node) const {
  Vocabulary seen;
  std::vector<AddedToken> kept;
  for (size_t i = 0; i < tokens.size(); ++i) {
    AddedToken& token = tokens[i];
    const std::string what = "'" + token.content + "' has id " + std::to_string(token.id);
    if (const auto known = model->vocabulary().find(token.content)) {
      if (*known != token.id)
        node.file().notes.push_back(node.place() + ": " + what + " there and " + std::to_string(*known) +
                                    " in the vocabulary, which counts");
      token.id = *known;
    } else if (const std::string* other = model->vocabulary().token(token.id)) {
      node.fail(what + ", which is that of '" + *other + "' in the vocabulary");
    }
    if (!seen.add(token.content, token.id)) {
      const std::string* other = seen.token(token.id);
      if (other == nullptr || *other != token.content)
        node.fail(other != nullptr ? what + ", which is that of '" + *other + "' already"
                                   : "'" + token.content + "' is there twice, with two ids");
      std::erase_if(
          kept, [&](const AddedToken& earlier) { return earlier.content == token.content; });  // the last one counts
    }
    kept.push_back(token);
  }
  tokens = std::move(kept);
}

// A file must number its own tokens without a gap.
void Tokenizer::Parts::check_ids(const JsonNode& root) const {
  size_t num_tokens = model->vocabulary().size();
  for (const auto& token : added->tokens())
    if (!model->vocabulary().find(token.content)) ++num_tokens;
  if (vocab_size <= static_cast<int64_t>(num_tokens)) return;
  const auto largest = static_cast<int32_t>(vocab_size - 1);
  root.at(added->of_id(largest) != nullptr ? "added_tokens" : "model")
      .fail("'" + *spelling(largest) + "' has id " + std::to_string(largest) + ", beyond the vocabulary of " +
            std::to_string(num_tokens) + " tokens");
}

// `limit` is the model's vocab_size.
void Tokenizer::Parts::check_ids(const std::string& path, int64_t limit) const {
  if (vocab_size <= limit) return;
  const auto largest = static_cast<int32_t>(vocab_size - 1);
  throw ModelMismatch(path + ": '" + *spelling(largest) + "' has id " + std::to_string(largest) +
                      ", but vocab_size in config.json is " + std::to_string(limit) +
                      ", so the model has no such token; tokenizer and checkpoint do not belong together");
}

void Tokenizer::Parts::apply(const CheckpointSettings& settings) {
  const auto look_up = [&](const std::optional<std::string>& token, const char* key) -> std::optional<int32_t> {
    if (!token) return std::nullopt;
    const auto id = find(*token);
    if (!id) notes.push_back(std::string(key) + " '" + *token + "' of tokenizer_config.json is not in the vocabulary");
    return id;
  };
  bos_text = settings.tokens.bos;
  eos_text = settings.tokens.eos;
  bos_id = look_up(settings.tokens.bos, "bos_token");
  eos_id = look_up(settings.tokens.eos, "eos_token");
  pad_id = look_up(settings.tokens.pad, "pad_token");
  if (const auto id = look_up(settings.tokens.unk, "unk_token")) unk_id = id;
  // A SentencePiece file has no post-processor; there the flags, where they are given, count for every class.
  if (!settings.llama_class && !sentencepiece) return;
  const bool bos = settings.add_bos_token.value_or(settings.llama_class);
  const bool eos = settings.add_eos_token.value_or(false);
  const auto needed = [&](const std::optional<int32_t>& id, const char* token, const char* flag) {
    if (!id)
      throw FormatError(settings.path, token,
                        std::string(flag) + " is on, but there is no such token in the vocabulary; name one or set " +
                            flag + " to false");
    return *id;
  };
  post = PostProcessor{};
  post.around.emplace();
  if (bos) post.around->push_back(needed(bos_id, "bos_token", "add_bos_token"));
  post.around->push_back(PostProcessor::kText);
  if (eos) post.around->push_back(needed(eos_id, "eos_token", "add_eos_token"));
  set_around();
}

void Tokenizer::Parts::set_around() {
  before.clear();
  after.clear();
  if (!post.around) return;
  const auto first = std::find(post.around->begin(), post.around->end(), PostProcessor::kText);
  before.assign(post.around->begin(), first);
  const auto last = std::find(post.around->rbegin(), post.around->rend(), PostProcessor::kText).base();
  after.assign(last, post.around->end());
}

// One text on its way through the parts.
class Tokenizer::Pass {
 public:
  Pass(const Parts& parts, std::string_view text, bool offsets)
      : parts_(parts),
        text_(text),
        offsets_(offsets),
        tracked_(offsets || parts.sources_needed),
        trim_(offsets && !parts.post.trims_before.empty()) {}

  std::vector<OutputToken> run(bool add_special_tokens) {
    std::vector<AddedTokenPart> cut;
    parts_.added->cut_raw(text_, cut);
    for (const auto& part : cut) {
      const std::string_view found = text_.substr(part.begin, part.end - part.begin);
      if (part.token != nullptr) add(part.token->id, part.begin, part.end, found);
      else add_section(AlignedText::part(found, part.begin, tracked_));
    }
    if (trim_)
      for (const auto& rule : parts_.post.trims_before)
        for (auto& token : out_) trim_offsets(rule, text_, token);
    if (!parts_.post.around) return std::move(out_);
    std::vector<OutputToken> complete;
    complete.reserve(out_.size() + parts_.post.around->size());
    for (const int32_t id : *parts_.post.around) {
      if (id == PostProcessor::kText) complete.insert(complete.end(), out_.begin(), out_.end());
      else if (add_special_tokens) complete.push_back({id});
    }
    return complete;
  }

 private:
  void add(int32_t id, size_t begin, size_t end, std::string_view spelled) {
    OutputToken token{id, begin, end};
    token.first = out_.empty();
    if (trim_) count_edge_spaces(spelled, token.leading, token.trailing);
    out_.push_back(token);
  }

  // A stretch between added tokens that are looked for in raw text.
  void add_section(AlignedText section) {
    if (parts_.normalizer) parts_.normalizer->apply(section);
    std::vector<AddedTokenPart> cut;
    parts_.added->cut_normalized(section.text, cut);
    if (cut.size() == 1 && cut[0].token == nullptr) {
      add_text(std::move(section));
      return;
    }
    for (const auto& part : cut) {
      if (part.token == nullptr) add_text(section.slice(part.begin, part.end));
      else
        add(part.token->id, section.source_of(part.begin).begin, section.source_of(part.end - 1).end,
            std::string_view(section.text).substr(part.begin, part.end - part.begin));
    }
  }

  // Text without added tokens.
  void add_text(AlignedText text) {
    if (text.text.empty()) return;
    PreTokens tokens{std::move(text), {}};
    tokens.pieces = {{0, static_cast<uint32_t>(tokens.text.text.size())}};
    if (parts_.pre_tokenizer) parts_.pre_tokenizer->apply(tokens);
    for (const ByteRange& piece : tokens.pieces) add_piece(tokens, piece);
  }

  void add_piece(const PreTokens& tokens, const ByteRange& piece) {
    spelled_.clear();
    parts_.model->tokenize(tokens.piece(piece), spelled_);
    for (const PieceToken& token : spelled_) {
      if (!offsets_) {
        out_.push_back({token.id});
        continue;
      }
      // A model may count more bytes than the piece has; what lies behind its end belongs to the last character.
      const uint32_t length = piece.end - piece.begin;
      const uint32_t begin = piece.begin + std::min(token.begin, length - 1);
      const uint32_t end = std::max(begin + 1, piece.begin + std::min(token.end, length));
      add(token.id, tokens.text.source[begin].begin, tokens.text.source[end - 1].end, *parts_.spelling(token.id));
    }
  }

  const Parts& parts_;
  std::string_view text_;
  bool offsets_;
  bool tracked_;
  bool trim_;
  std::vector<OutputToken> out_;
  std::vector<PieceToken> spelled_;
};

std::vector<OutputToken> Tokenizer::Parts::run(std::string_view text, bool offsets, bool add_special_tokens) const {
  if (text.size() > kMaxTextBytes)
    throw UsageError("a text of " + std::to_string(text.size()) + " bytes is too long; " +
                     std::to_string(kMaxTextBytes) + " is the most");
  if (const auto bad = first_invalid_utf8(text))
    throw UsageError("the text is not UTF-8 at byte " + std::to_string(*bad));
  return Pass(*this, text, offsets).run(add_special_tokens);
}

Tokenizer::Tokenizer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Tokenizer::~Tokenizer() = default;

std::unique_ptr<Tokenizer> Tokenizer::from_json(std::string_view json, const std::string& name) {
  auto parts = std::make_unique<Parts>();
  const Json parsed = parse_json(json, name);
  JsonFile file{name, {}};
  const JsonNode root(parsed, file);
  parts->read(root);
  parts->check_ids(root);
  parts->notes = std::move(file.notes);
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(parts)));
}

std::unique_ptr<Tokenizer> Tokenizer::open(const std::filesystem::path& path) {
  auto parts = std::make_unique<Parts>();
  if (!std::filesystem::is_directory(path)) {
    if (!std::filesystem::exists(path)) throw IoError(path.string() + ": no such file or folder");
    const std::string content = read_file(path);
    if (!looks_like_sentencepiece(content) && path.extension() != ".model") return from_json(content, path.string());
    parts->read_sentencepiece(parse_sentencepiece(content, path.string()), path.string());
    return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(parts)));
  }
  const auto json_path = with_gz_fallback(path / "tokenizer.json");
  const auto model_path = with_gz_fallback(path / "tokenizer.model");
  JsonFile file{json_path.string(), {}};
  SpecialTokens own;
  if (std::filesystem::exists(json_path)) {
    const Json parsed = parse_json(read_file(json_path), file.path);
    parts->read(JsonNode(parsed, file));
    if (!read_checkpoint_settings(path).vocab_size) parts->check_ids(JsonNode(parsed, file));
  } else if (std::filesystem::exists(model_path)) {
    file.path = model_path.string();
    parts->read_sentencepiece(parse_sentencepiece(read_file(model_path), file.path), file.path);
    own = {parts->bos_text, parts->eos_text, std::nullopt, std::nullopt};
    const Json added = added_tokens_of_folder(path, parts->model->vocabulary());
    JsonFile source{(path / "tokenizer_config.json").string(), {}};
    const JsonNode node(added, source, "added tokens");
    auto tokens = read_added_tokens(node);
    for (auto& token : tokens) token.normalized = false;  // cut out of the text as it comes, before any change to it
    parts->check_added(tokens, node);
    parts->set_added(std::move(tokens), nullptr, source.path);
    file.notes = std::move(source.notes);
  } else {
    throw IoError(path.string() + ": there is no tokenizer.json and no tokenizer.model in this folder");
  }
  const CheckpointSettings settings = read_checkpoint_settings(path, own);
  if (settings.vocab_size) parts->check_ids(file.path, *settings.vocab_size);
  parts->notes.insert(parts->notes.end(), file.notes.begin(), file.notes.end());
  parts->apply(settings);
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(parts)));
}

Encoding Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  Encoding encoding;
  for (const OutputToken& token : parts_->run(text, true, add_special_tokens)) {
    encoding.ids.push_back(token.id);
    encoding.pieces.push_back(*parts_->spelling(token.id));
    encoding.offsets.emplace_back(token.begin, token.end);
  }
  return encoding;
}

std::vector<int32_t> Tokenizer::ids(std::string_view text, bool add_special_tokens) const {
  const auto tokens = parts_->run(text, false, add_special_tokens);
  std::vector<int32_t> ids(tokens.size());
  std::transform(tokens.begin(), tokens.end(), ids.begin(), [](const OutputToken& token) { return token.id; });
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  for (const int32_t id : ids) {
    if (const AddedToken* token = parts_->added->of_id(id)) {
      if (!skip_special_tokens || !token->special) tokens.push_back(parts_->added->decoded(*token));
    } else if (const std::string* known = parts_->model->vocabulary().token(id)) {
      if (!skip_special_tokens || !parts_->model->is_special(id)) tokens.push_back(*known);
    }
  }
  if (parts_->decoder) parts_->decoder->apply(tokens);
  std::string text;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0 && !parts_->decoder) text += ' ';
    text += tokens[i];
  }
  return text;
}

int64_t Tokenizer::vocab_size() const { return parts_->vocab_size; }
std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const { return parts_->find(token); }

std::optional<std::string> Tokenizer::id_to_token(int32_t id) const {
  const std::string* token = parts_->spelling(id);
  if (token == nullptr) return std::nullopt;
  return *token;
}

bool Tokenizer::is_special(int32_t id) const {
  const AddedToken* token = parts_->added->of_id(id);
  return token != nullptr ? token->special : parts_->model->is_special(id);
}

std::optional<int32_t> Tokenizer::bos_id() const { return parts_->bos_id; }
std::optional<int32_t> Tokenizer::eos_id() const { return parts_->eos_id; }
std::optional<int32_t> Tokenizer::unk_id() const { return parts_->unk_id; }
std::optional<int32_t> Tokenizer::pad_id() const { return parts_->pad_id; }
std::optional<std::string> Tokenizer::bos_text() const { return parts_->bos_text; }
std::optional<std::string> Tokenizer::eos_text() const { return parts_->eos_text; }
const std::vector<int32_t>& Tokenizer::ids_before_text() const { return parts_->before; }
const std::vector<int32_t>& Tokenizer::ids_after_text() const { return parts_->after; }
const std::vector<std::string>& Tokenizer::notes() const { return parts_->notes; }

}  // namespace fare
