"""Writes unicode_additions.inc: the code points assigned after Unicode 15.0, with general category and version.

    pip install --no-deps --target u15 unicodedata2==15.0.0      (likewise u16, u17)
    python make_unicode_additions.py u15:15 u16:16 u17:17 > unicode_additions.inc

Each argument is FOLDER:MAJOR, oldest first; the first one only says what is already known.
"""
import importlib
import sys


def load(folder):
    sys.path.insert(0, folder)
    sys.modules.pop("unicodedata2", None)
    module = importlib.import_module("unicodedata2")
    table = [module.category(chr(c)) for c in range(0x110000)]
    sys.path.pop(0)
    return module.unidata_version, table


def main():
    rows = []
    previous = None
    for argument in sys.argv[1:]:
        folder, major = argument.rsplit(":", 1)
        _, table = load(folder)
        if previous is not None:
            for c in range(0x110000):
                if previous[c] == "Cn" and table[c] != "Cn":
                    if rows and rows[-1][1] == c - 1 and rows[-1][2:] == (table[c], major):
                        rows[-1] = (rows[-1][0], c) + rows[-1][2:]
                    else:
                        rows.append((c, c, table[c], major))
        previous = table
    print("// Made by make_unicode_additions.py from the Unicode Character Database; do not edit.")
    names = {"Lu": "UPPERCASE_LETTER", "Ll": "LOWERCASE_LETTER", "Lt": "TITLECASE_LETTER", "Lm": "MODIFIER_LETTER",
             "Lo": "OTHER_LETTER", "Mn": "NON_SPACING_MARK", "Me": "ENCLOSING_MARK", "Mc": "COMBINING_SPACING_MARK",
             "Nd": "DECIMAL_DIGIT_NUMBER", "Nl": "LETTER_NUMBER", "No": "OTHER_NUMBER", "Sm": "MATH_SYMBOL",
             "Sc": "CURRENCY_SYMBOL", "Sk": "MODIFIER_SYMBOL", "So": "OTHER_SYMBOL", "Po": "OTHER_PUNCTUATION",
             "Pd": "DASH_PUNCTUATION", "Ps": "START_PUNCTUATION", "Pe": "END_PUNCTUATION",
             "Pc": "CONNECTOR_PUNCTUATION", "Cf": "FORMAT_CHAR"}
    rows.sort()
    for first, last, category, major in rows:
        print(f"{{0x{first:05X}, 0x{last:05X}, U_{names[category]}, {major}}},")


main()
