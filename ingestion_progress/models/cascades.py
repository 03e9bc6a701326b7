"""Foreign keys whose rows the database deletes: also for processes that do not know the table."""

from __future__ import annotations

from typing import Any

from django.apps.registry import Apps
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

# Deferred, like the constraints that Django makes.
ON_DELETE = "ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"


class CascadingForeignKey(models.ForeignKey[Any, Any]):
    """A foreign key with ON DELETE CASCADE in the database.

    On SQLite the constraint is in the definition of the column, where it survives each copy that
    Django makes of the table. On PostgreSQL a migration adds it: `AddCascade`.
    """

    def __init__(self, to: Any, **options: Any) -> None:
        # Django would make a second constraint, which refuses the deletion.
        options["db_constraint"] = False
        super().__init__(to, **options)

    def db_type_suffix(self, connection: BaseDatabaseWrapper) -> str | None:
        if connection.vendor != "sqlite":
            return None
        return _references(self, connection)


class AddCascade(Operation):
    """Adds the constraint of a `CascadingForeignKey` on PostgreSQL."""

    reversible = True

    def __init__(self, model_name: str, name: str) -> None:
        self.model_name = model_name
        self.name = name

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """The state of the models does not change."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: Any,
        to_state: Any,
    ) -> None:
        self._alter(to_state.apps, app_label, schema_editor, is_added=True)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: Any,
        to_state: Any,
    ) -> None:
        self._alter(from_state.apps, app_label, schema_editor, is_added=False)

    def describe(self) -> str:
        return f"Let the database delete {self.model_name} with its {self.name}"

    def _alter(
        self, apps: Apps, app_label: str, editor: BaseDatabaseSchemaEditor, *, is_added: bool
    ) -> None:
        connection = editor.connection
        model = apps.get_model(app_label, self.model_name)
        if connection.vendor != "postgresql" or not self.allow_migrate_model(
            connection.alias, model
        ):
            return
        field = model._meta.get_field(self.name)
        table = editor.quote_name(model._meta.db_table)
        constraint = editor.quote_name(f"{model._meta.db_table}_cascade")
        if is_added:
            editor.execute(
                f"ALTER TABLE {table} ADD CONSTRAINT {constraint} "
                f"FOREIGN KEY ({editor.quote_name(field.column)}) {_references(field, connection)}"
            )
        else:
            editor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")


def _references(field: Any, connection: BaseDatabaseWrapper) -> str:
    quote_name = connection.ops.quote_name
    table = quote_name(field.remote_field.model._meta.db_table)
    return f"REFERENCES {table} ({quote_name(field.target_field.column)}) {ON_DELETE}"
