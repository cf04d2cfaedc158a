// Canonical composition (NFC, Unicode Standard Annex 15) that keeps track of which characters it joined.
#pragma once

#include "fare/tokenizer/aligned_text.h"

namespace fare {

// Normalises in place; text that is in NFC already stays untouched. A composed character comes from its first part.
// Characters assigned after Unicode 9 neither combine nor reorder, as in the reference implementation.
void normalize_nfc(AlignedText& text);

}  // namespace fare
