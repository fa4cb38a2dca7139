"""Connections to Postgres beside dlt's own, and what it means when one cannot be made."""

import psycopg2
import psycopg2.errors
from dlt.destinations.impl.postgres.configuration import PostgresCredentials

from destinations.errors import DestinationError, DestinationLost, DestinationUnavailable
from destinations.location import quoted

# What libpq answers, and what it means to someone who has only the settings in front of them.
_CAUSES = (
    ("password authentication failed", "refuses the user {username} or the password"),
    ("no pg_hba.conf entry", "does not let the user {username} connect from this machine"),
    ('role "{username}" does not exist', "does not know the user {username}"),
    ("not permitted to log in", "does not let the user {username} log in"),
    ('database "{database}" does not exist', "has no database {database}"),
    ("permission denied for database", "does not let the user {username} connect to the database (GRANT CONNECT)"),
    ("could not translate host name", "cannot be found: the host name {host} is unknown"),
    ("Connection refused", "refuses the connection: nothing listens at {host}:{port}"),
    ("timeout expired", "does not answer in time"),
    ("too many c", "has no connection left, as the server, the database or the user may have no more at a time"),
    ("connection slots are reserved", "has no connection left that a user like this may have"),
    ("SSL", "and this machine do not agree on SSL (sslmode in the connection string)"),
)


def connect(credentials: PostgresCredentials, setting: str) -> "psycopg2.extensions.connection":
    """Open a connection of its own with the destination's credentials.

    Raises DestinationUnavailable with host, port, database, user and the setting, never the password, and
    DestinationError where a part of the password stands for one of these.
    """
    if "@" in f"{credentials.host}{credentials.database}":
        raise DestinationError(
            f"{setting} cannot be read: user and password in it must be percent-encoded (@ as %40, / as %2F)."
        )
    try:
        return psycopg2.connect(credentials.to_native_representation(), application_name="braze-elt")
    except psycopg2.OperationalError as error:
        raise DestinationUnavailable(_sentence(credentials, str(error), setting)) from None


def check(credentials: PostgresCredentials, dataset: str, setting: str, probe: str) -> None:
    """Prove that a table `probe` can be made in `dataset`, and a temporary one to merge with; neither is kept.

    Raises DestinationUnavailable, DestinationLost if the server closes the connection meanwhile.
    """
    connection = connect(credentials, setting)
    schema = quoted(dataset)
    try:
        with connection.cursor() as cursor:
            encoding = connection.get_parameter_status("server_encoding")
            if encoding != "UTF8":
                raise DestinationUnavailable(
                    f"{address(credentials)} keeps text as {encoding}, which cannot hold all that Braze sends: name a"
                    " database that was made with ENCODING 'UTF8'."
                )
            cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (dataset,))
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE SCHEMA {schema}")
            cursor.execute(f"CREATE TABLE {schema}.{quoted(probe)} (x integer)")
            cursor.execute(f"CREATE TEMPORARY TABLE {quoted(probe)} (x integer)")
    except psycopg2.errors.InsufficientPrivilege:
        raise DestinationUnavailable(
            f"{address(credentials)} does not let this user make schemas and tables for the dataset {dataset}: "
            f"grant it CREATE and TEMPORARY on the database, and CREATE on the schema {dataset} if it exists."
        ) from None
    except psycopg2.Error as error:
        if connection.closed:
            raise DestinationLost(f"{address(credentials)} has gone away: run again once it is back.") from None
        raise DestinationUnavailable(
            f"{address(credentials)} cannot be written: {str(error).splitlines()[0]}."
        ) from None
    finally:
        connection.close()  # without a commit: nothing of this stays


def address(credentials: PostgresCredentials) -> str:
    """Name server, database and user, without the password."""
    return (
        f"Postgres at {credentials.host}:{credentials.port} "
        f"(database {credentials.database}, user {credentials.username})"
    )


def _sentence(credentials: PostgresCredentials, answer: str, setting: str) -> str:
    cause = next((cause for text, cause in _CAUSES if text.format(**credentials) in answer), "cannot be reached")
    return f"{address(credentials)} {cause.format(**credentials)}: check {setting}."
