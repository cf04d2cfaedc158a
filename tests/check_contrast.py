"""Contrast of the report's colours, light and dark: text at least 4.5 to 1 on what it stands on, marks that carry data at least
3 to 1 (WCAG 2.1, success criteria 1.4.3 and 1.4.11).

  python3 tests/check_contrast.py [PAGE.cpp ..]     reads the colour names of the style sheet; exit status 1 when a pair falls short

Text that mixes transparency is not used; a colour pair of the page that is not listed here is not checked.
"""

import re
import sys
from pathlib import Path

PAGE = Path(__file__).parent.parent / "fare/report/page.cpp"
TEXT = [("text", "page"), ("quiet", "page"), ("accent", "page"), ("mark", "page"), ("open", "page"), ("text", "soft"), ("quiet", "soft"),
        ("open", "soft"), ("mark", "soft"), ("yes", "yes-back"), ("no", "no-back"), ("open", "open-back")]
MARKS = [("mark", "page"), ("accent", "page"), ("cloud", "page")]


def luminance(colour):
    channels = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def offences(source):
    schemes = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\n *\}", source, re.S)]
    if len(schemes) != 2:
        yield f"expected a light and a dark scheme, found {len(schemes)}"
    for name, scheme in zip(("light", "dark"), schemes):
        for pairs, least in ((TEXT, 4.5), (MARKS, 3.0)):
            for front, back in pairs:
                if not {front, back} <= scheme.keys():
                    yield f"{name}: no colour --{front} or --{back}"
                elif (ratio := contrast(scheme[front], scheme[back])) < least:
                    yield f"{name}: --{front} {scheme[front]} on --{back} {scheme[back]} is {ratio:.2f} to 1, below {least}"


def main():
    # White on black is 21 to 1, and #767676 the lightest grey that reaches 4.5 on white.
    assert round(contrast("#ffffff", "#000000"), 6) == 21 and 4.5 <= contrast("#767676", "#ffffff") < contrast("#757575", "#ffffff")
    found = []
    for path in [Path(name) for name in sys.argv[1:]] or [PAGE]:
        found += [f"{path.name}: {sentence}" for sentence in offences(path.read_text(encoding="utf-8"))]
    print("\n".join(found) if found else "every pair of colours has the contrast it needs")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
