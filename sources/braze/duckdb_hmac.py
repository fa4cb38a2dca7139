"""HMAC-SHA-256 in DuckDB's SQL: the hash of `pii.PiiRules.hashed`, for the columns of a query."""

import hashlib

import duckdb

_BLOCK = 64
"""Block size of SHA-256 in bytes, to which HMAC pads its key."""


def install_hmac(connection: duckdb.DuckDBPyConnection, key: bytes) -> None:
    """Give the connection `pii_hash(text)`: HMAC-SHA-256 in hexadecimal, null for null.

    The padded key goes in as session variables, so that it stands in no statement and in no error message.
    """
    padded = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    for name, pad in (("pii_inner", 0x36), ("pii_outer", 0x5C)):
        connection.execute(f"SET VARIABLE {name} = $1::BLOB", [bytes(byte ^ pad for byte in padded)])
    connection.execute(
        "CREATE OR REPLACE TEMP MACRO pii_hash(value) AS"
        " sha256(getvariable('pii_outer') || unhex(sha256(getvariable('pii_inner') || encode(value))))"
    )
