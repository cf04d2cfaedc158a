// Settings of the process that the libraries under us read only once, at load.
#pragma once

namespace fare::cli {

// Threads that wait for work must not spin: on a machine that does anything else, spinning threads cost several times the
// run. libgomp reads its settings when it is loaded, so the program starts itself again with them, once, unless the user
// has set OMP_WAIT_POLICY or GOMP_SPINCOUNT. Also keeps freed blocks for the next layer instead of returning them to the
// system.
void settle_process(char** argv);

}  // namespace fare::cli
