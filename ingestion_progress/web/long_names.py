"""Where names may be cut in two: never within what is drawn as one, such as an accented letter, an
emoji of several people, a flag, or letters that join, as those of Arabic do.
"""

import unicodedata

# Long enough for "(2).pdf" and other ends that tell names apart.
END_LENGTH = 12
ZERO_WIDTH_JOINER = "\u200d"
VIRAMA_CLASS = 9  # joins the letters before and after it


def split_name(name: str) -> tuple[str, str]:
    """Start and end of the name. The end is shorter or empty if it would begin in a letter."""
    place = max(0, len(name) - END_LENGTH)
    while 0 < place < len(name) and not _may_part(name[place - 1], name[place]):
        place += 1
    return name[:place], name[place:]


def _may_part(before: str, after: str) -> bool:
    is_joined = before == ZERO_WIDTH_JOINER or unicodedata.combining(before) == VIRAMA_CLASS
    return not (is_joined or _continues(after) or (_joins(before) and _joins(after)))


def _continues(character: str) -> bool:
    """Marks, variation selectors, joiners and tags, and the skin colours of emoji."""
    is_colour = "\U0001f3fb" <= character <= "\U0001f3ff"
    return unicodedata.category(character) in {"Mn", "Mc", "Me", "Cf"} or is_colour


def _joins(character: str) -> bool:
    """Letters that join their neighbours, halves of flags, parts of Korean syllables."""
    is_of_flag = "\U0001f1e6" <= character <= "\U0001f1ff"
    is_of_syllable = "\u1100" <= character <= "\u11ff"
    is_arabic = unicodedata.bidirectional(character) == "AL" or unicodedata.category(character) in {
        "Mn",
        "Cf",
    }
    return is_of_flag or is_of_syllable or is_arabic
