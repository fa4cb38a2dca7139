"""Records cassettes from a live workspace: `python -m tests.record`; see tests/cassettes/README.md."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import vcr
import yaml

from sources.braze import endpoints
from sources.braze.catalog import CATALOGS
from sources.braze.client import Client
from sources.braze.endpoints import Endpoint
from sources.braze.errors import BrazeError, ConfigurationError
from sources.braze.settings import Settings, resolve
from tests import wire
from tests.recordings import Recording, recordings
from tests.scrubbing import Pseudonyms, Scrubber


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


class Readable:
    """Cassettes as YAML in which bodies keep their lines: a serializer for vcrpy."""

    @staticmethod
    def serialize(cassette: dict[str, Any]) -> str:
        """The text of a cassette."""
        return yaml.dump(cassette, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=120)

    @staticmethod
    def deserialize(text: str) -> Any:
        """The cassette in a text."""
        return yaml.safe_load(text)


class Recorder:
    """Puts questions to the workspace of `settings` and stores the exchanges, scrubbed, in the folder `into`."""

    def __init__(self, settings: Settings, into: Path) -> None:
        self._settings = settings
        self._into = into
        self._client = Client(settings.base_url, settings.api_key, concurrency=1, rate_reserve=settings.rate_reserve)
        self._pseudonyms = Pseudonyms(settings.api_key)

    async def record(self, chosen: Iterable[Recording], external_ids: Sequence[str]) -> int:
        """Record a cassette per question and return how many; what the workspace lacks or refuses is said."""
        self._into.mkdir(parents=True, exist_ok=True)
        stored = 0
        try:
            entities = await self._first_entities(external_ids)
            for recording in chosen:
                try:
                    await self._record(recording, self._fields(recording, entities))
                    stored += 1
                except ConfigurationError:
                    raise
                except (BrazeError, LookupError) as problem:
                    click.echo(f"{recording.name}: left out. {problem}", err=True)
        finally:
            await self._client.aclose()
        return stored

    async def _first_entities(self, external_ids: Sequence[str]) -> dict[str, Any]:
        """The first entity of every kind by the parameter that names it; of segments, the first with figures."""
        found: dict[str, Any] = {"external_ids": list(external_ids)} if external_ids else {}
        for catalog in CATALOGS:
            entries = await self._listed(catalog.listing, catalog.items, catalog.list_parameters)
            for entry in sorted(entries, key=lambda entry: not entry.get("analytics_tracking_enabled", True))[:1]:
                found[catalog.parameter] = entry["id"]
        for name in (await self._listed(endpoints.EVENTS_LIST, "events", {}))[:1]:
            found["event"] = name
        return found

    async def _listed(self, endpoint: Endpoint, items: str, parameters: Mapping[str, bool]) -> list[Any]:
        try:
            answer = await self._client.get(endpoint, {"page": 0, **parameters})
        except ConfigurationError:
            raise
        except BrazeError:
            return []
        return answer.get(items) or []

    def _fields(self, recording: Recording, entities: Mapping[str, Any]) -> dict[str, Any]:
        if recording.endpoint is endpoints.SENDS_DATA_SERIES and self._settings.sends:
            campaign_id, send_id = self._settings.sends[0]
            entities = {**entities, "campaign_id": campaign_id, "send_id": send_id}
        missing = [name for name in recording.naming if name not in entities]
        if missing:
            raise LookupError(f"There is no {missing[0]} to ask about.")
        return {name: entities[name] for name in recording.naming} | recording.fields

    async def _record(self, recording: Recording, fields: dict[str, Any]) -> None:
        path = self._into / f"{recording.name}.yaml"
        path.unlink(missing_ok=True)
        try:
            with self._recorder(recording).use_cassette(str(path), serializer="readable"):
                if recording.endpoint.method == "POST":
                    await self._client.post(recording.endpoint, fields)
                else:
                    await self._client.get(recording.endpoint, fields)
        except BrazeError:
            if not recording.name.startswith("errors."):
                path.unlink(missing_ok=True)
                raise

    def _recorder(self, recording: Recording) -> vcr.VCR:
        scrubber = Scrubber(self._pseudonyms, personal=recording.endpoint is endpoints.USERS_EXPORT_IDS)
        recorder = vcr.VCR(
            record_mode="all",
            decode_compressed_response=True,
            before_record_request=scrubber.request,
            before_record_response=scrubber.response,
        )
        recorder.register_serializer("readable", Readable)
        return recorder


@click.command()
@click.option("--endpoint", "paths", multiple=True, metavar="PATH", help="Only this one, such as canvas/details.")
@click.option("--external-id", "external_ids", multiple=True, metavar="ID", help="A profile for users/export/ids.")
@click.option("--into", default=wire.LIVE, type=click.Path(path_type=Path), help="Folder of the cassettes.")
def main(paths: tuple[str, ...], external_ids: tuple[str, ...], into: Path) -> None:
    """Record a cassette per endpoint from the workspace of SOURCES__BRAZE__API_KEY and SOURCES__BRAZE__ENDPOINT.

    The first entity of each kind is asked about. Exports are started or cancelled only where --endpoint says so.
    Options may be repeated.
    """
    if unknown := set(paths) - set(wire.ENDPOINTS):
        raise click.UsageError(
            f"There is no endpoint {min(unknown)}: choose among {', '.join(sorted(wire.ENDPOINTS))}."
        )
    try:
        settings = resolve()
        chosen = [
            recording
            for recording in recordings(settings.zone)
            if (recording.endpoint.path in paths if paths else recording.is_harmless)
        ]
        stored = asyncio.run(Recorder(settings, into).record(chosen, external_ids))
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{stored} cassettes in {into}")


if __name__ == "__main__":
    main()
