"""What a recorded exchange keeps: its shape, its counters and days, and Braze's own words; all else is a pseudonym.

Pseudonyms look like what they stand for (an id, an address, a URL) and are the same for the same text in every cassette
recorded with one key; without that key they cannot be traced back.
"""

import json
import re
from base64 import b64decode
from binascii import Error as Base64Error
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

HOST = "rest.example.com"
VOCABULARY = frozenset(["channel", "channels", "data_type", "layout", "method", "schedule_type", "status", "type"])
"""Keys whose texts are Braze's, not the customer's."""
FREE = frozenset(["custom_attributes", "email_headers", "extras", "headers", "multiple_converted"])
"""Objects in which the keys are the customer's as well."""
BY_ID = frozenset(["messages", "step_stats", "variant_stats"])
"""Objects by id; `messages` of a series are by channel, and then hold lists."""
PLAIN_FIELDS = re.compile(r"page|length|ending_at|unit|include_\w+|fields_to_export")
KEPT_HEADERS = frozenset(
    ["content-type", "date", "link", "retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]
)
LONGEST_LIST = 3

_KEY = re.compile(r"[a-z][a-z0-9_]*")
_CLICK_KEY = re.compile(r"([a-z][a-z_]*?_\d+_)(.*)(_clicks?)", re.DOTALL)
_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z][A-Za-z _-]{0,40}")
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?(?:\.\d+)?(?: ?(?:Z|UTC|[+-]\d{2}:?\d{2}))?)?")
_SHORTEST_SECRET = 3


class Pseudonyms:
    """Texts that stand for others, derived with a secret; remembers what it has replaced."""

    def __init__(self, secret: str) -> None:
        self._secret = blake2b(secret.encode()).digest()
        self._given: dict[str, str] = {secret: "REDACTED"}

    def of(self, text: str) -> str:
        """The pseudonym of a text; an empty one stays empty."""
        if not text:
            return text
        pseudonym = self._given[text] = self._make(text)
        return pseudonym

    def replaced_in(self, text: str) -> str:
        """A sentence with everything replaced in it that has had a pseudonym, and every id."""
        for original in sorted(self._given, key=len, reverse=True):
            if len(original) >= _SHORTEST_SECRET:
                text = text.replace(original, self._given[original])
        given = set(self._given.values())
        return _UUID.sub(lambda match: match[0] if match[0] in given else self.of(match[0]), text)

    def _make(self, text: str) -> str:
        digest = blake2b(text.encode(), digest_size=16, key=self._secret).hexdigest()
        if _UUID.fullmatch(text):
            return str(UUID(digest))
        if match := re.fullmatch(rf"({_UUID.pattern})-(\d+)", text, re.IGNORECASE):
            return f"{UUID(digest)}-{match[2]}"
        if re.fullmatch(r"[0-9a-f]{24}", text):
            return digest[:24]
        if "://" in text:
            return f"https://example.com/{digest[:8]}"
        if "@" in text:
            return f"{digest[:8]}@example.com"
        if re.fullmatch(r"\+?[\d ()-]{7,}", text):
            return f"+1555{int(digest[:7], 16) % 10**7:07}"
        return "1" if text.isdecimal() else f"text-{digest[:8]}"


class Scrubber:
    """Hooks for vcrpy: what is stored of requests and responses. `personal` answers hold profiles."""

    def __init__(self, pseudonyms: Pseudonyms, personal: bool = False) -> None:
        self._pseudonyms = pseudonyms
        self._personal = personal

    def request(self, request: Any) -> Any:
        """The request without its key, host and the customer's identifiers."""
        url = urlsplit(request.uri)
        query = urlencode({name: self._field(name, value) for name, value in parse_qsl(url.query)})
        request.uri = f"https://{HOST}{url.path}{query and '?' + query}"
        request.headers = {"Accept": "application/json", "Authorization": "Bearer REDACTED"}
        if request.body:
            body = json.loads(request.body)
            request.headers["Content-Type"] = "application/json"
            request.body = json.dumps({name: self._field(name, value) for name, value in body.items()})
        return request

    def response(self, response: dict[str, Any]) -> dict[str, Any]:
        """The response, its lists shortened, without what is the customer's."""
        headers = {
            name: [re.sub(r"<([^>]*)>", self._link, value) for value in values]
            for name, values in response["headers"].items()
            if name.lower() in KEPT_HEADERS
        }
        body = self._body(response["body"]["string"])
        return {"status": response["status"], "headers": headers, "body": {"string": body.encode()}}

    def _body(self, content: bytes) -> str:
        try:
            answer = json.loads(content)
        except ValueError:
            return ""
        if not isinstance(answer, dict):
            return ""
        said = {"message": self._pseudonyms.replaced_in(str(answer["message"]))} if "message" in answer else {}
        kept = self._object({name: value for name, value in answer.items() if name != "message"})
        return json.dumps({**said, **kept}, ensure_ascii=False, indent=1) + "\n"

    def _field(self, name: str, value: Any) -> Any:
        if name == "cursor":
            return self._cursor(value)
        return value if PLAIN_FIELDS.fullmatch(name) else self._free(value)

    def _link(self, match: re.Match[str]) -> str:
        url = urlsplit(match[1])
        query = urlencode({name: self._field(name, value) for name, value in parse_qsl(url.query)}, safe="=")
        return f"<{'https://' + HOST if url.netloc else ''}{url.path}?{query}>"

    def _cursor(self, value: str) -> str:
        try:
            is_number_only = re.fullmatch(rb"skip:\d+", b64decode(value, validate=True))
        except Base64Error:
            is_number_only = None
        return value if is_number_only else self._pseudonyms.of(value)

    def _object(self, value: dict[str, Any], by_id: bool = False) -> dict[str, Any]:
        return {
            self._pseudonyms.of(key) if by_id else self._key(key): self._value(key, content)
            for key, content in value.items()
        }

    def _key(self, key: str) -> str:
        if match := _CLICK_KEY.fullmatch(key):
            return f"{match[1]}{self._pseudonyms.of(match[2])}{match[3]}"
        return key if _KEY.fullmatch(key) and not _UUID.search(key) else self._pseudonyms.of(key)

    def _value(self, key: str, value: Any) -> Any:
        if key in FREE:
            return self._free(value)
        match value:
            case dict():
                return self._object(value, key in BY_ID and not any(isinstance(item, list) for item in value.values()))
            case list():
                return [self._value(key, item) for item in shortened(value)]
            case str():
                return self._text(key, value)
        return self._number(value) if self._personal else value

    def _text(self, key: str, value: str) -> str:
        if self._personal:
            return _at_no_time(value) if _INSTANT.fullmatch(value) else self._pseudonyms.of(value)
        is_word = key in VOCABULARY and _WORD.fullmatch(value)
        return value if is_word or _INSTANT.fullmatch(value) else self._pseudonyms.of(value)

    def _free(self, value: Any) -> Any:
        """Nothing of the customer's own but its form."""
        match value:
            case dict():
                named = {"key", "value"}
                return {
                    key if key in named else self._pseudonyms.of(key): self._free(item) for key, item in value.items()
                }
            case list():
                return [self._free(item) for item in shortened(value)]
            case str():
                return self._pseudonyms.of(value)
        return self._number(value)

    @staticmethod
    def _number(value: Any) -> Any:
        if isinstance(value, bool) or value is None:
            return value
        return 1 if isinstance(value, int) else 1.5


def shortened(values: list[Any]) -> list[Any]:
    """The first few of a list, and of its objects one of every set of keys."""
    seen: set[frozenset[str]] = set()
    kept = []
    for place, value in enumerate(values):
        keys = frozenset(value) if isinstance(value, dict) else frozenset()
        if place < LONGEST_LIST or (isinstance(value, dict) and keys not in seen):
            kept.append(value)
        seen.add(keys)
    return kept


def _at_no_time(instant: str) -> str:
    """A day or an instant in the same notation that says nothing."""
    day = re.sub(r"^\d{4}-\d{2}-\d{2}", "2020-01-01", instant)
    clock = re.sub(r"\d{2}:\d{2}(:\d{2})?", lambda match: "00:00:00"[: len(match[0])], day, count=1)
    return re.sub(r"\.\d+", lambda match: "." + "0" * (len(match[0]) - 1), clock)
