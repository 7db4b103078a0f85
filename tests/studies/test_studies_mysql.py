"""The store on a MariaDB or MySQL server: the contract, and what only such a server can do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from study_store_contract import StoreContract

pytestmark = pytest.mark.database


class TestMySQL(StoreContract):
    @pytest.fixture
    def url(self, mysql_database: Callable[[str], str]) -> str:
        """Where every default is against us: what the store promises must not depend on how the database was made."""
        return mysql_database("CHARACTER SET latin1 COLLATE latin1_swedish_ci")
