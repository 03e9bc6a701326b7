"""The open elements of an XML document that is read as events."""


class ElementPath:
    """Knows which of them are left out, with all that they contain."""

    def __init__(self) -> None:
        self.tags: list[str] = []
        self._skipped_from = 0

    @property
    def is_read(self) -> bool:
        """Is an element open, and none left out?"""
        return bool(self.tags) and not self._skipped_from

    def start(self, tag: str) -> bool:
        """Returns whether the element is to be read."""
        self.tags.append(tag)
        return not self._skipped_from

    def skip(self) -> None:
        """Leaves out the element that was started last."""
        self._skipped_from = len(self.tags)

    def end(self) -> bool:
        """Returns whether the element was read."""
        was_read = not self._skipped_from
        if self._skipped_from == len(self.tags):
            self._skipped_from = 0
        self.tags.pop()
        return was_read
