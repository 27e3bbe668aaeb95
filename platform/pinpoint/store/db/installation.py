"""Id of this installation, created once by the database; its index carries the same id."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from pinpoint.errors import DatabaseUnavailableError
from pinpoint.store.db.database import Transactions


class Installation:
    """Reads the installation id of a database.

    Args:
        transactions: Units of work; the API's role may also read the id.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._id: str | None = None

    def id(self) -> str:
        """Installation id, read once: it never changes during a process.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer, or its schema is older than this
                code.
        """
        if self._id is None:
            try:
                with self._transactions.begin() as unit:
                    result = unit.connection.execute(text("SELECT tenant.installation()"))
                    self._id = str(result.scalar_one())
            except ProgrammingError as error:
                raise DatabaseUnavailableError(
                    "the database has an older schema than this code: run `pinpoint up` or "
                    "`alembic upgrade head`"
                ) from error
        return self._id
