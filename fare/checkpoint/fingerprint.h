// The fingerprint of a checkpoint: what interventions and results name a model by. docs/fingerprint.md.
#pragma once

#include <cstddef>
#include <string>

#include "fare/core/json.h"

namespace fare {

class Checkpoint;

// SHA-256 over: canonical_json(config without the key "transformers_version"), then for every tensor in byte order of
// its name: name, a zero byte, dtype name, a zero byte, the dimensions in decimal joined by ",", a zero byte, and its
// data: all bytes where the tensors of the checkpoint have at most 2^30 bytes together. Otherwise 16 blocks of 256
// bytes, block i (0..15) beginning at byte floor(i (n - 256) / 15) of the n bytes of the tensor, so the first block is
// the first bytes and the last block the last; a tensor of at most 4096 bytes is taken whole. Returns "sha256:" and 64
// hexadecimal digits. `always_sample` takes the blocks whatever the total (tests).
std::string compute_fingerprint(const Checkpoint& checkpoint, bool always_sample = false);

// JSON without spaces, keys sorted by byte order at every level, non-ASCII characters as UTF-8, floats as the shortest
// decimal that reads back the same ("1e-05", "10000.0"). Byte for byte what Python prints for
// json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).
std::string canonical_json(const Json& value);

}  // namespace fare
