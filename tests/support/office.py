"""Office documents for the tests, written part by part."""

from __future__ import annotations

from tests.support.documents import WORD_PARTS, archive

OFFICE = "http://schemas.openxmlformats.org"
NAMESPACES = {
    "w": f"{OFFICE}/wordprocessingml/2006/main",
    "r": f"{OFFICE}/officeDocument/2006/relationships",
    "m": f"{OFFICE}/officeDocument/2006/math",
    "mc": f"{OFFICE}/markup-compatibility/2006",
    "wp": f"{OFFICE}/drawingml/2006/wordprocessingDrawing",
    "a": f"{OFFICE}/drawingml/2006/main",
    "s": f"{OFFICE}/spreadsheetml/2006/main",
    "p": f"{OFFICE}/presentationml/2006/main",
    "dgm": f"{OFFICE}/drawingml/2006/diagram",
    "c": f"{OFFICE}/drawingml/2006/chart",
    "v": "urn:schemas-microsoft-com:vml",
}


def xml(root: str, content: str) -> bytes:
    namespaces = " ".join(f'xmlns:{prefix}="{name}"' for prefix, name in NAMESPACES.items())
    return f"<{root} {namespaces}>{content}</{root.split(maxsplit=1)[0]}>".encode()


def relationships(**targets: str) -> bytes:
    """By ids such as `image1`, which begin with the kind."""
    rows = "".join(
        f'<Relationship Id="{key}" Target="{target}" Type="{OFFICE}/officeDocument/2006/'
        f'relationships/{key.rstrip("0123456789")}"/>'
        for key, target in targets.items()
    )
    namespace = f"{OFFICE}/package/2006/relationships"
    return f'<Relationships xmlns="{namespace}">{rows}</Relationships>'.encode()


def package(main: str, parts: dict[str, bytes]) -> bytes:
    """An Office document; `main` is the name of its main part."""
    related = relationships(officeDocument1=main)
    types = WORD_PARTS["[Content_Types].xml"]
    return archive({"[Content_Types].xml": types, "_rels/.rels": related} | parts)
