// FARE_CLONES before a function: it is compiled for several instruction sets and the machine's best one is chosen when
// the program starts. For inner loops only.
#pragma once

// Sanitizers cannot run the chooser, which is called before they are ready.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define FARE_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FARE_CLONES
#endif
