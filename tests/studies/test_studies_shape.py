"""The package's own shape: what it imports, what it names, and that its schema is its migrations' newest."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import CreateTable

import studies
from studies import schema
from studies.tables import Base

PACKAGE = Path(studies.__file__).parent


def test_the_package_imports_the_standard_library_sqlalchemy_alembic_and_pandas_only() -> None:
    allowed = set(sys.stdlib_module_names) | {"studies", "sqlalchemy", "alembic", "pandas"}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert {name.split(".")[0] for name in names} <= allowed, path


def test_opening_a_store_loads_neither_torch_nor_optuna_nor_pandas(sqlite_url: str) -> None:
    code = (
        "import sys, studies; s = studies.StudyStore(sys.argv[1]); s.open_study('s', {}); s.close();"
        "print(sorted({'torch', 'optuna', 'pandas', 'nas', 'searchspace'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code, sqlite_url], capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


def test_every_exported_name_exists() -> None:
    assert [name for name in studies.__all__ if not hasattr(studies, name)] == []


def test_the_code_knows_the_newest_migration() -> None:
    assert ScriptDirectory(str(PACKAGE / "migrations")).get_heads() == [schema.HEAD]


def test_every_table_carries_the_prefix_and_refers_to_ours_only() -> None:
    for table in Base.metadata.tables.values():
        assert table.name.startswith("nas_")
        assert all(key.target_fullname.startswith("nas_") for key in table.foreign_keys)


def test_the_tables_suit_mysql() -> None:
    sql = {
        name: str(CreateTable(table).compile(dialect=mysql.dialect())) for name, table in Base.metadata.tables.items()
    }
    assert "json LONGTEXT" in sql["nas_architecture"]
    assert "val_accuracy DOUBLE" in sql["nas_evaluation"]
    assert "created_at DATETIME(6)" in sql["nas_study"]
    for statement in sql.values():  # whatever the server's defaults
        assert all(option in statement for option in ("ENGINE=InnoDB", "CHARSET=utf8mb4", "COLLATE utf8mb4_bin"))
