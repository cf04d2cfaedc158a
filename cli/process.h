// Settings of the process that the libraries under us read only once, at load.
#pragma once

namespace fare::cli {

// Threads that wait for work must not spin: on a machine that does anything else, spinning threads cost several times
// the run. And what libraries keep ready for later must stay small beside the weights. They read their settings when
// they are loaded, so the program starts itself again with them, once, unless the user has set them: GOMP_SPINCOUNT (or
// OMP_WAIT_POLICY), LRU_CACHE_CAPACITY, ONEDNN_PRIMITIVE_CACHE_CAPACITY. Large tensors get a pool of their own.
void settle_process(char** argv);

}  // namespace fare::cli
