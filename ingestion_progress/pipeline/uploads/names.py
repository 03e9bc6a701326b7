"""Makes the names of uploaded files safe to store, show and compare."""

import hashlib
import unicodedata

MAX_NAME_LENGTH = 255
MAX_EXTENSION_LENGTH = 16
UNNAMED = "document"
# Emoji need it. Other invisible format characters only disguise a name.
ZERO_WIDTH_JOINER = "\u200d"
# Control, format (including bidi marks), surrogate, line separator, paragraph separator.
REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def clean_name(name: str) -> str:
    """The last part of a path without invisible characters: 1 to 255 characters.

    A longer name is truncated before its extension.
    """
    visible = "".join(char for char in name if _is_visible(char))
    base = unicodedata.normalize("NFC", visible).replace("\\", "/").rsplit("/", 1)[-1].strip()
    if not base.strip("."):
        return UNNAMED
    suffix = extension(base)
    return base[: len(base) - len(suffix)][: MAX_NAME_LENGTH - len(suffix)].rstrip() + suffix


def extension(name: str) -> str:
    """The extension with its dot, as written: `.PDF` of `Report.PDF`; empty if there is none."""
    stem, dot, suffix = name.rpartition(".")
    if not stem or not suffix or len(suffix) >= MAX_EXTENSION_LENGTH or " " in suffix:
        return ""
    return dot + suffix


def stable_id(name: str) -> str:
    """The same 32 hex digits for the same name, so a new upload replaces the document."""
    # Names of files that are not UTF-8 contain surrogates.
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:32]


def _is_visible(char: str) -> bool:
    return char == ZERO_WIDTH_JOINER or unicodedata.category(char) not in REFUSED_CATEGORIES
