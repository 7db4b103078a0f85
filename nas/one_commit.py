"""Several writes to Optuna's database in one transaction: Optuna commits each, and each commit waits for the disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import orm


class GroupedSession(orm.Session):
    """While `grouped`, what its user commits is written and waits, and the session stays open."""

    grouped = False

    def commit(self) -> None:
        if self.grouped:
            self.flush()
        else:
            super().commit()

    def close(self) -> None:
        if not self.grouped:
            super().close()


def group_commits(storage: RDBStorage) -> None:
    """Make `one_commit` work for a storage that nobody has used yet."""
    sessions = orm.scoped_session(orm.sessionmaker(bind=storage.engine, class_=GroupedSession))
    storage.scoped_session = sessions  # pyright: ignore[reportAttributeAccessIssue]  # of a subclass of what it declares


@contextmanager
def one_commit(storage: BaseStorage) -> Iterator[None]:
    """All that this thread writes to the storage inside the block arrives at its end, or not at all.

    From the first write on others wait for theirs. Nothing changes for storages without `group_commits`.
    """
    database = getattr(storage, "_backend", storage)  # behind Optuna's cache
    session = database.scoped_session() if isinstance(database, RDBStorage) else None
    if not isinstance(session, GroupedSession):
        yield
        return
    session.grouped = True
    try:
        yield
        session.grouped = False
        session.commit()
    except BaseException:
        session.rollback()
        raise
    finally:
        session.grouped = False
        session.close()
