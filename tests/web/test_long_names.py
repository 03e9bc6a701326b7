"""Where long names are cut in two."""

import pytest

from ingestion_progress.web.long_names import END_LENGTH, split_name

FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
FLAG = "\U0001f1e9\U0001f1ea"


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("", ""),
        ("a.pdf", "a.pdf"),
        ("Annual report 2026 part 12.pdf", " part 12.pdf"),
        (f"{FAMILY} family.pdf", " family.pdf"),
        (f"{FAMILY}{FAMILY}", FAMILY),
        ("Annual \U0001f44d\U0001f3fd parts1.pdf", " parts1.pdf"),
        (f"x{FLAG} and more.pd", " and more.pd"),
        (f"x{FLAG}and more.pd", "and more.pd"),
        ("Annual re\u0301sume\u0301s1.pdf", "sume\u0301s1.pdf"),
        ("\u062a\u0642\u0631\u064a\u0631 \u0639\u0646 \u0627\u0644\u0634\u0631\u0643\u0629.pdf",
         " \u0627\u0644\u0634\u0631\u0643\u0629.pdf"),
        ("\u0915\u094d\u0937" * 3 + "1 \u0915.pdf", "\u0915\u094d\u09371 \u0915.pdf"),
        ("Z" + "\u0335" * 60 + ".pdf", ".pdf"),
    ],
)  # fmt: skip
def test_end_never_begins_within_what_is_drawn_as_one(name, end):
    shown = split_name(name)
    assert "".join(shown) == name
    assert shown[1] == end
    assert len(shown[1]) <= END_LENGTH
