"""The settings of the source: resolved by dlt's configuration, validated here, once.

`configured` is the one declaration of their names and defaults; `.dlt/config.toml` lists them with their meaning.
"""

import re
from dataclasses import dataclass, field
from datetime import date
from difflib import get_close_matches
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from dlt.common.configuration import with_config
from dlt.common.configuration.exceptions import ConfigValueCannotBeCoercedException
from dlt.common.typing import TSecretValue

from sources.braze.errors import ConfigurationError
from sources.braze.export_fields import ExportFields, export_fields
from sources.braze.instances import base_url
from sources.braze.pii import PiiRules, pii_rules

SECTION = ("sources", "braze")
Pair = tuple[str, str]
_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}
"""What a setting of that type is to be, in words."""


@dataclass(frozen=True)
class Settings:
    """Validated settings; `zone` is the workspace's, `sends` holds (campaign_id, send_id). Secrets are in no `repr`."""

    api_key: str = field(repr=False)
    base_url: str
    zone: ZoneInfo
    start_date: date | None
    lookback_days: int
    concurrency: int
    rate_reserve: float
    hourly: bool
    app_ids: tuple[str, ...]
    segments: tuple[str, ...]
    fields: ExportFields
    pii: PiiRules
    export_bucket: str | None
    export_quiet_seconds: float
    export_timeout_minutes: float
    export_parallel: int
    products: tuple[str, ...]
    message_bodies: bool
    sends: tuple[Pair, ...]
    sends_query: str | None
    sends_query_url: str | None = field(repr=False)
    alert_webhook: str | None = field(repr=False)


def resolve(**overrides: Any) -> Settings:
    """Settings from arguments, environment (`SOURCES__BRAZE__API_KEY`, …), `.dlt/secrets.toml`, `.dlt/config.toml`.

    Raises `ConfigurationError` with a sentence that names the setting and the cure.
    """
    try:
        settings: Settings = configured(**overrides)
    except ConfigValueCannotBeCoercedException as error:
        kind = _KINDS.get(error.hint, "a value of the kind that .dlt/config.toml shows")
        raise ConfigurationError(f"`{error.field_name}` is {error.field_value!r}: set {kind}.") from None
    return settings


@with_config(sections=SECTION)
def configured(
    api_key: TSecretValue = None,
    endpoint: Any = None,
    time_zone: Any = "UTC",
    start_date: Any = None,
    lookback_days: Any = 30,
    concurrency: Any = 16,
    rate_reserve: Any = 0.2,
    hourly: Any = False,
    app_ids: Any = None,
    segments: Any = None,
    fields: Any = None,
    pii: Any = None,
    pii_key: TSecretValue = None,
    export_bucket: Any = None,
    export_quiet_seconds: Any = 300.0,
    export_timeout_minutes: Any = 240.0,
    export_parallel: Any = 4,
    products: Any = None,
    message_bodies: Any = True,
    sends: Any = None,
    sends_query: Any = None,
    sends_query_url: TSecretValue = None,
    alert_webhook: TSecretValue = None,
) -> Settings:
    """Declares every setting and its default. A list may be a TOML list, a JSON list or comma-separated text.

    Secrets are typed as such: dlt writes the values of all other settings to its trace file.
    """
    if not api_key:
        raise ConfigurationError(
            "`api_key` is not set: put your Braze REST API key into SOURCES__BRAZE__API_KEY"
            " or, as `api_key`, under [sources.braze] in .dlt/secrets.toml."
        )
    if not endpoint:
        raise ConfigurationError(
            "`endpoint` is not set: put your instance (for example US-01 or EU-02) or its base URL into"
            " SOURCES__BRAZE__ENDPOINT or, as `endpoint`, under [sources.braze] in .dlt/config.toml."
        )
    if bool(sends_query) != bool(sends_query_url):
        given, lacking = ("sends_query", "sends_query_url") if sends_query else ("sends_query_url", "sends_query")
        raise ConfigurationError(
            f"`{given}` is set without `{lacking}`: set both, the query and its database, or none."
        )
    exported = export_fields(_names("fields", fields))
    return Settings(
        api_key=str(api_key).strip(),
        base_url=base_url(str(endpoint)),
        zone=parse_zone(str(time_zone)),
        start_date=parse_day("start_date", start_date) if start_date else None,
        lookback_days=int(_number("lookback_days", lookback_days, 0, 365, whole=True)),
        concurrency=int(_number("concurrency", concurrency, 1, 128, whole=True)),
        rate_reserve=_number("rate_reserve", rate_reserve, 0, 0.95),
        hourly=_flag("hourly", hourly),
        app_ids=_names("app_ids", app_ids),
        segments=_names("segments", segments),
        fields=exported,
        pii=pii_rules(_mapping("pii", pii), str(pii_key) if pii_key else None, exported.names),
        export_bucket=_bucket(str(export_bucket)) if export_bucket else None,
        export_quiet_seconds=_number("export_quiet_seconds", export_quiet_seconds, 0, 86_400),
        export_timeout_minutes=_number("export_timeout_minutes", export_timeout_minutes, 0.01, 10_080),
        export_parallel=int(_number("export_parallel", export_parallel, 1, 100, whole=True)),
        products=_names("products", products),
        message_bodies=_flag("message_bodies", message_bodies),
        sends=tuple(parse_send(entry) for entry in _names("sends", sends)),
        sends_query=str(sends_query) if sends_query else None,
        sends_query_url=str(sends_query_url) if sends_query_url else None,
        alert_webhook=_webhook(str(alert_webhook)) if alert_webhook else None,
    )


def parse_day(setting: str, value: Any) -> date:
    """A date from `YYYY-MM-DD` (or a date). Raises `ConfigurationError` naming `setting`."""
    if isinstance(value, date):
        return date(value.year, value.month, value.day)
    try:
        return date.fromisoformat(str(value).strip())
    except ValueError:
        raise ConfigurationError(
            f"`{setting}` is {str(value)!r}, which is not a date: write it as YYYY-MM-DD."
        ) from None


def parse_send(entry: str) -> Pair:
    """`campaign_id:send_id` → the pair. Raises `ConfigurationError` for anything else."""
    campaign_id, colon, send_id = entry.partition(":")
    if not (colon and campaign_id.strip() and send_id.strip()):
        raise ConfigurationError(f"`sends` has the entry {entry!r}: write each as campaign_id:send_id.")
    return campaign_id.strip(), send_id.strip()


def _bucket(url: str) -> str:
    if re.match(r"\w+://[^/]*:[^/]*@", url):
        raise ConfigurationError(
            "`export_bucket` holds a password, which errors would show: name the bucket alone, and give the credentials"
            " as its driver finds them in the environment."
        )
    return url.rstrip("/")


def _webhook(url: str) -> str:
    if not re.match(r"https?://[^/]", url):
        raise ConfigurationError("`alert_webhook` is not a URL: set the https://… address that your chat gave you.")
    return url


def parse_zone(name: str) -> ZoneInfo:
    """The zone of an IANA name. Raises `ConfigurationError` for anything else, with the nearest name."""
    # Not `available_timezones()`, which reads the system's whole database, and has names there that are no zone's.
    zones = (files("tzdata") / "zones").read_text().splitlines()
    if name in zones:
        return ZoneInfo(name)
    nearest = get_close_matches(name, zones, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    raise ConfigurationError(
        f"`time_zone` is {name!r}, which is not a time zone: set an IANA name such as Europe/Berlin.{hint}"
    )


def _number(setting: str, value: Any, low: float, high: float, whole: bool = False) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not low <= number <= high or (whole and number != int(number)):
        kind = "a whole number" if whole else "a number"
        raise ConfigurationError(f"`{setting}` is {value!r}: set {kind} from {low} to {high}.")
    return number


def _flag(setting: str, value: Any) -> bool:
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    flag = value if isinstance(value, bool) else known.get(str(value).strip().lower())
    if flag is None:
        raise ConfigurationError(f"`{setting}` is {value!r}: set true or false.")
    return flag


def _names(setting: str, value: Any) -> tuple[str, ...]:
    """A list of texts from a list, a JSON list, or texts separated by commas."""
    if isinstance(value, str):
        value = _json(setting, value) if value.lstrip().startswith("[") else value.split(",")
    value = value or ()
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise ConfigurationError(f'`{setting}` must be a list of texts, for example ["a", "b"] or a,b.')
    return tuple(dict.fromkeys(name.strip() for name in value if name.strip()))


def _mapping(setting: str, value: Any) -> dict[str, str]:
    if isinstance(value, str):
        value = _json(setting, value) if value.strip() else {}
    if not isinstance(value or {}, dict):
        raise ConfigurationError(f'`{setting}` must be a JSON object, for example {{"email": "hash"}}.')
    return {str(key): str(rule) for key, rule in (value or {}).items()}


def _json(setting: str, value: str) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        raise ConfigurationError(f"`{setting}` is not valid JSON.") from None
