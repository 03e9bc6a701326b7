from __future__ import annotations

from servestatic.storage import CompressedManifestStaticFilesStorage


class ModuleStaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Also renames what JavaScript modules import, so that browsers may keep all of it for ever."""

    support_js_module_import_aggregation = True
