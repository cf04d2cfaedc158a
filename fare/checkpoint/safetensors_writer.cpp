#include "fare/checkpoint/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "fare/checkpoint/tensor_view.h"
#include "fare/core/error.h"
#include "fare/core/json.h"

namespace fare {
namespace {

std::vector<TensorInfo> lay_out(const std::vector<TensorDeclaration>& tensors, const std::string& path) {
  std::vector<TensorInfo> layout;
  for (const auto& tensor : tensors) layout.push_back({tensor.name, tensor.dtype, tensor.shape, 0, 0});
  std::sort(layout.begin(), layout.end(), [](const TensorInfo& a, const TensorInfo& b) {
    const int bits_a = dtype_bits(a.dtype), bits_b = dtype_bits(b.dtype);
    return bits_a != bits_b ? bits_a > bits_b : a.name < b.name;
  });
  size_t offset = 0;
  for (auto& tensor : layout) {
    FARE_CHECK(tensor.name != "__metadata__", "that name is reserved by the format");
    tensor.begin = offset;
    try {
      offset += tensor_num_bytes(tensor.dtype, tensor.shape, path, "tensor '" + tensor.name + "'");
    } catch (const FormatError& error) {
      throw BrokenInvariant(error.what());
    }
    tensor.end = offset;
  }
  return layout;
}

// Header length, header, padding: everything in front of the data.
std::string preamble(const std::vector<TensorInfo>& layout, const SafetensorsWriter::Metadata& metadata) {
  OrderedJson header = OrderedJson::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  for (const auto& tensor : layout)
    header[tensor.name] = {{"dtype", std::string(dtype_name(tensor.dtype))},
                           {"shape", tensor.shape},
                           {"data_offsets", {tensor.begin, tensor.end}}};
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + text;
}

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what, int code) {
  throw IoError(path.string() + ": " + what + ": " + std::strerror(code));
}

void write_at(int fd, const char* data, size_t num_bytes, size_t offset, const std::filesystem::path& path) {
  while (num_bytes > 0) {
    const ssize_t written = ::pwrite(fd, data, num_bytes, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail(path, "cannot be written", written < 0 ? errno : ENOSPC);
    data += written;
    offset += static_cast<size_t>(written);
    num_bytes -= static_cast<size_t>(written);
  }
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(std::filesystem::path path, const std::vector<TensorDeclaration>& tensors,
                                     const Metadata& metadata)
    : path_(std::move(path)), layout_(lay_out(tensors, path_.string())) {
  const std::string front = preamble(layout_, metadata);
  for (const auto& tensor : layout_) {
    const size_t begin = front.size() + tensor.begin;
    const bool is_new = cursors_.emplace(tensor.name, Cursor{begin, front.size() + tensor.end, begin}).second;
    FARE_CHECK(is_new, "tensor '" + tensor.name + "' is declared twice");
  }
  const size_t total = front.size() + (layout_.empty() ? 0 : layout_.back().end);

  temporary_ = path_;
  temporary_ += ".part-" + std::to_string(::getpid());
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) fail(path_, "cannot be written", errno);
  try {
    // A full disk is found now, not after hours of work; file systems that cannot reserve space report it when it is.
    if (::fallocate(fd_, 0, 0, static_cast<off_t>(total)) != 0 && (errno == ENOSPC || errno == EFBIG || errno == EDQUOT))
      fail(path_, "cannot be written: " + std::to_string(total) + " bytes are needed", errno);
    write_at(fd_, front.data(), front.size(), 0, path_);
  } catch (...) {
    ::close(fd_);
    ::unlink(temporary_.c_str());
    throw;
  }
}

SafetensorsWriter::~SafetensorsWriter() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void SafetensorsWriter::append(const std::string& name, const void* data, size_t num_bytes) {
  const auto found = cursors_.find(name);
  FARE_CHECK(found != cursors_.end(), path_.string() + ": tensor '" + name + "' was not declared");
  Cursor& cursor = found->second;
  FARE_CHECK(num_bytes <= cursor.end - cursor.next,
             path_.string() + ": tensor '" + name + "' was declared with " + std::to_string(cursor.end - cursor.begin) +
                 " bytes, more were given");
  FARE_CHECK(fd_ >= 0, path_.string() + ": already committed");
  write_at(fd_, static_cast<const char*>(data), num_bytes, cursor.next, path_);
  cursor.next += num_bytes;
}

void SafetensorsWriter::commit() {
  for (const auto& tensor : layout_) {
    const Cursor& cursor = cursors_.at(tensor.name);
    FARE_CHECK(cursor.next == cursor.end,
               path_.string() + ": tensor '" + tensor.name + "' has " + std::to_string(cursor.next - cursor.begin) +
                   " of " + std::to_string(cursor.end - cursor.begin) + " bytes");
  }
  FARE_CHECK(fd_ >= 0, path_.string() + ": already committed");
  const int fd = fd_;
  fd_ = -1;
  if (::close(fd) != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int code = errno;
    ::unlink(temporary_.c_str());
    fail(path_, "cannot be put in place", code);
  }
}

void write_safetensors(const std::filesystem::path& path, const std::vector<TensorData>& tensors,
                       const SafetensorsWriter::Metadata& metadata) {
  std::vector<TensorDeclaration> declarations;
  for (const auto& tensor : tensors) declarations.push_back({tensor.name, tensor.dtype, tensor.shape});
  SafetensorsWriter writer(path, declarations, metadata);
  for (const auto& tensor : tensors) writer.append(tensor.name, tensor.bytes.data(), tensor.bytes.size());
  writer.commit();
}

}  // namespace fare
