"""The storage of static files in production."""

from servestatic.storage import CompressedManifestStaticFilesStorage


class ModuleStaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Adds hashes also to what JavaScript modules import, so that browsers may cache all files."""

    support_js_module_import_aggregation = True
