"""Types of arguments that several commands have."""

import re
from argparse import ArgumentTypeError

from ingestion_progress.pipeline.stages import LANGUAGE


def language(text: str) -> str:
    if not re.fullmatch(LANGUAGE, text):
        raise ArgumentTypeError(f"{text} is not a code of ISO 639, as de.")
    return text
