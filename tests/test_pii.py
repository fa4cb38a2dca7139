"""Rules for personal data: the hash is HMAC-SHA-256, and a rule that cannot be meant gets a sentence."""

import hashlib
import hmac

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.braze.duckdb_hmac import install_hmac
from sources.braze.errors import ConfigurationError
from sources.braze.pii import Action, pii_rules

RFC_4231 = [
    (b"\x0b" * 20, "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (
        b"Jefe",
        "what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        b"\xaa" * 131,
        "Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        "This is a test using a larger than block-size key and a larger than block-size data. The key needs"
        " to be hashed before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
]


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as opened:
        yield opened


@pytest.mark.parametrize(("key", "text", "expected"), RFC_4231)
def test_the_published_vectors(connection, key, text, expected):
    install_hmac(connection, key)
    assert connection.execute("SELECT pii_hash(?)", [text]).fetchone() == (expected,)


@given(key=st.binary(max_size=200), text=st.text(st.characters(exclude_categories=["Cs"])))
def test_equals_pythons_hmac(connection, key, text):
    install_hmac(connection, key)
    expected = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    assert connection.execute("SELECT pii_hash(?), pii_hash(NULL)", [text]).fetchone() == (expected, None)


def test_the_key_is_in_no_representation():
    assert "sesame" not in repr(pii_rules({"email": "hash"}, "sesame"))


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"emial": "hash"}, ["emial", "email"]),
        ({"email": "mask"}, ["email", "hash", "drop"]),
        ({"devices": "hash"}, ["devices", "drop"]),
        ({"devices.idfx": "drop"}, ["devices.idf"]),
        ({"braze_id": "drop"}, ["braze_id", "hash"]),
        ({"custom_attributes.": "drop"}, ["custom_attributes"]),
        ({"custom_attributes.address.city": "drop"}, ["custom_attributes.address.city", "`custom_attributes.address`"]),
    ],
)
def test_a_rule_that_cannot_be_meant_gets_a_sentence(rules, words):
    with pytest.raises(ConfigurationError) as caught:
        pii_rules(rules, "key")
    assert all(word in str(caught.value) for word in words)


def test_hash_needs_a_key():
    with pytest.raises(ConfigurationError, match="pii_key"):
        pii_rules({"email": "hash"}, None)
    assert pii_rules({"email": "drop"}, None).action("email") is Action.DROP


def test_dropping_a_list_drops_what_is_in_it():
    rules = pii_rules({"canvases_received.steps_received": "drop", "devices": "drop"}, None)
    assert rules.action("canvases_received.steps_received.name") is Action.DROP
    assert rules.action("canvases_received.name") is None
    assert rules.action("devices.idfa") is Action.DROP
