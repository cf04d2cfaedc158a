#include "fare/tokenizer/sentencepiece_file.h"

#include <array>
#include <bit>
#include <cmath>
#include <unordered_set>

#include "fare/core/error.h"
#include "fare/tokenizer/byte_pieces.h"
#include "fare/tokenizer/unicode.h"

namespace fare {
namespace {

// One field of a protobuf message: a number, or bytes that may be a message of their own.
struct Field {
  uint64_t number = 0;
  uint64_t value = 0;      // of a varint or fixed-width field
  std::string_view bytes;  // of a length-delimited one
  int wire_type = 0;
  size_t offset = 0;  // of its first byte in the file
};

// Reads the fields of one message in order.
class Message {
 public:
  Message(std::string_view bytes, size_t offset, const std::string& path)
      : bytes_(bytes), offset_(offset), path_(path) {}

  [[noreturn]] void fail(size_t offset, const std::string& what) const {
    throw FormatError(path_, "byte " + std::to_string(offset), what);
  }

  bool next(Field& field) {
    if (at_ == bytes_.size()) return false;
    field = {};
    field.offset = offset_ + at_;
    const uint64_t key = varint();
    field.number = key >> 3;
    field.wire_type = static_cast<int>(key & 7);
    if (field.number == 0) fail(field.offset, "this is no SentencePiece model: a field has the number 0");
    switch (field.wire_type) {
      case 0: field.value = varint(); return true;
      case 1: field.value = fixed(8); return true;
      case 2: field.bytes = take(varint()); return true;
      case 5: field.value = fixed(4); return true;
      default:
        fail(field.offset, "this is no SentencePiece model: field " + std::to_string(field.number) +
                               " has the wire type " + std::to_string(field.wire_type));
    }
  }

  Message inner(const Field& field) const {
    expect(field, 2);
    return {field.bytes, offset_ + static_cast<size_t>(field.bytes.data() - bytes_.data()), path_};
  }
  std::string text(const Field& field) const {
    expect(field, 2);
    return std::string(field.bytes);
  }
  bool boolean(const Field& field) const { return number(field) != 0; }
  int32_t number(const Field& field) const {
    expect(field, 0);
    return static_cast<int32_t>(field.value);  // protobuf keeps the low 32 bits
  }
  float real(const Field& field) const {
    expect(field, 5);
    return std::bit_cast<float>(static_cast<uint32_t>(field.value));
  }

 private:
  void expect(const Field& field, int wire_type) const {
    if (field.wire_type != wire_type)
      fail(field.offset, "field " + std::to_string(field.number) + " has the wire type " +
                             std::to_string(field.wire_type) + ", expected " + std::to_string(wire_type));
  }
  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - at_)
      fail(offset_ + at_, "the file looks cut short: " + std::to_string(count) + " bytes announced, " +
                              std::to_string(bytes_.size() - at_) + " left; copy it again");
    const std::string_view taken = bytes_.substr(at_, count);
    at_ += count;
    return taken;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail(offset_ + at_, "this is no SentencePiece model: a number has more than ten bytes");
  }
  uint64_t fixed(size_t width) {
    const std::string_view bytes = take(width);
    uint64_t value = 0;
    for (size_t i = 0; i < width; ++i) value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
    return value;
  }

  std::string_view bytes_;
  size_t offset_;
  const std::string& path_;
  size_t at_ = 0;
};

SentencePieceFile::Piece read_piece(Message message) {
  SentencePieceFile::Piece piece;
  for (Field field; message.next(field);) {
    if (field.number == 1) piece.text = message.text(field);
    if (field.number == 2) piece.score = message.real(field);
    if (field.number == 3) {
      const int32_t kind = message.number(field);
      if (kind < 1 || kind > 6) message.fail(field.offset, "a piece of the unknown type " + std::to_string(kind));
      piece.kind = static_cast<SentencePieceFile::Kind>(kind);
    }
  }
  return piece;
}

void read_trainer(Message message, SentencePieceFile& out) {
  for (Field field; message.next(field);) {
    switch (field.number) {
      case 3: {
        constexpr std::array kNames = {"", "unigram", "bpe", "word", "char"};
        const int32_t type = message.number(field);
        if (type != 1 && type != 2)
          message.fail(field.offset,
                       "model type " +
                           (type == 3 || type == 4 ? "'" + std::string(kNames[static_cast<size_t>(type)]) + "'"
                                                   : std::to_string(type)) +
                           " is not supported (supported: unigram, bpe)");
        out.is_unigram = type == 1;
        break;
      }
      case 24: out.space_as_suffix = message.boolean(field); break;
      case 35: out.byte_fallback = message.boolean(field); break;
      case 41: out.bos_id = message.number(field); break;
      case 42: out.eos_id = message.number(field); break;
      case 43: out.pad_id = message.number(field); break;
      default: break;  // how it was trained; the id of the unknown piece (40) is told by its kind
    }
  }
}

void read_normalizer(Message message, SentencePieceFile& out) {
  for (Field field; message.next(field);) {
    switch (field.number) {
      case 1: out.normalizer = message.text(field); break;
      case 2: out.character_map = message.text(field); break;
      case 3: out.add_dummy_prefix = message.boolean(field); break;
      case 4: out.remove_extra_spaces = message.boolean(field); break;
      case 5: out.escape_spaces = message.boolean(field); break;
      default: break;
    }
  }
}

bool has_character_map(Message message) {
  for (Field field; message.next(field);)
    if (field.number == 2 && !field.bytes.empty()) return true;
  return false;
}

void check(SentencePieceFile& file, const std::string& path) {
  using Kind = SentencePieceFile::Kind;
  const auto fail = [&](size_t id, const std::string& what) {
    throw FormatError(path, "piece " + std::to_string(id), what);
  };
  if (file.pieces.empty()) throw FormatError(path, "", "this SentencePiece model has no pieces");
  if (file.pieces.size() > INT32_MAX) throw FormatError(path, "", "more pieces than 32-bit ids");
  std::unordered_set<std::string_view> seen;
  std::optional<size_t> unknown;
  size_t num_bytes = 0;
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    const auto& piece = file.pieces[id];
    if (piece.text.empty()) fail(id, "an empty piece");
    if (first_invalid_utf8(piece.text)) fail(id, "its text is not UTF-8");
    if (!seen.insert(piece.text).second) fail(id, "'" + piece.text + "' is there twice");
    if (!std::isfinite(piece.score)) fail(id, "'" + piece.text + "' has a score that is not finite");
    if (piece.kind == Kind::kUnknown) {
      if (unknown)
        fail(id, "'" + piece.text + "' is a second unknown piece beside '" + file.pieces[*unknown].text + "'");
      unknown = id;
    }
    if (piece.kind == Kind::kByte) {
      if (!file.byte_fallback) fail(id, "'" + piece.text + "' is a byte piece, but byte_fallback is off");
      const auto byte = named_byte(piece.text);
      if (!byte || piece.text != byte_piece(*byte))
        fail(id, "'" + piece.text + "' is no byte piece; expected <0x00> to <0xFF>");
      ++num_bytes;
    }
  }
  if (!unknown) throw FormatError(path, "", "none of the pieces is of the type unknown");
  if (file.byte_fallback && num_bytes != 256)
    throw FormatError(path, "",
                      "byte_fallback is on, but there are " + std::to_string(num_bytes) + " byte pieces of 256");
  file.unk_id = static_cast<int32_t>(*unknown);
  for (auto* id : {&file.bos_id, &file.eos_id, &file.pad_id})
    if (*id && (**id < 0 || static_cast<size_t>(**id) >= file.pieces.size() ||
                file.pieces[static_cast<size_t>(**id)].kind != Kind::kControl))
      id->reset();
}

}  // namespace

bool looks_like_sentencepiece(std::string_view bytes) {
  return bytes.starts_with('\n') && bytes.substr(0, 64).find('\0') != std::string_view::npos;
}

SentencePieceFile parse_sentencepiece(std::string_view bytes, const std::string& path) {
  SentencePieceFile file;
  file.bos_id = 1;  // what the format says of absent fields
  file.eos_id = 2;
  Message message(bytes, 0, path);
  for (Field field; message.next(field);) {
    if (field.number == 1) file.pieces.push_back(read_piece(message.inner(field)));
    if (field.number == 2) read_trainer(message.inner(field), file);
    if (field.number == 3) read_normalizer(message.inner(field), file);
    if (field.number == 5 && has_character_map(message.inner(field)))
      file.notes.push_back("its denormalizer is not applied when decoding");
  }
  check(file, path);
  return file;
}

}  // namespace fare
