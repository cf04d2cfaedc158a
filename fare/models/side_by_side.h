// Independent passes of one model at the same time. A narrow model's products are too small to be worth dividing among
// threads: it takes several passes, each on one thread; a wide one takes them in turn, each on all threads.
#pragma once

#include <cstdint>
#include <functional>

#include "fare/models/decoder_spec.h"

namespace fare {

// Whether passes of this model run side by side. A matter of its shape alone, so that what is computed on one thread
// does not depend on how many there are.
bool runs_side_by_side(const DecoderSpec& spec);

// Calls body(i) once for each i in [0, n): on at::get_num_threads() threads, each with nothing beside it to divide its
// own work over, where runs_side_by_side(spec); else in order. Bodies write to places of their own. The first exception
// is rethrown once all threads have stopped. Thread-local modes of the caller (no-grad) are not handed on.
void side_by_side(const DecoderSpec& spec, int64_t n, const std::function<void(int64_t i)>& body);

}  // namespace fare
