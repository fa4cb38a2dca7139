"""The dlt settings that correctness and privacy depend on, as defaults below everything a user sets."""

from typing import Any

import dlt
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers import CustomLoaderDocProvider
from dlt.common.configuration.specs import PluggableRunContext
from dlt.common.runtime.telemetry import stop_telemetry

from destinations.dlt_validation import remember_type_hints
from destinations.parquet import write_plain_numbers

LOADER_DEFAULTS: dict[str, Any] = {
    # dlt warns of every column whose declared type (JSON) is richer than its Arrow type (string).
    "runtime": {"dlthub_telemetry": False, "log_level": "ERROR"},
    # Compressing files that are read once, on the same machine, costs more than the rest of the load.
    "data_writer": {"disable_compression": True},
    # No row stays behind, neither in the working directory nor in the staging dataset.
    "load": {"delete_completed_jobs": True, "truncate_staging_dataset": True},
}

_PROVIDER = "braze-elt defaults"


def apply_loader_defaults() -> None:
    """Make dlt use `LOADER_DEFAULTS` for what neither environment, `config.toml` nor `secrets.toml` sets.

    To be called once before the first pipeline is made; calling it again changes nothing. Switches dlt's
    telemetry off unless the user has switched it on. Also replaces two functions of dlt for the whole process:
    `validation.remember_type_hints` and `parquet.write_plain_numbers` say which, and why.
    """
    run_context = Container()[PluggableRunContext]
    if _PROVIDER in run_context.providers:
        return
    remember_type_hints()
    write_plain_numbers()
    # It holds no secrets. But if it could not, dlt would test for each value, thousands of times, whether it is one.
    dlt.config.register_provider(
        CustomLoaderDocProvider(_PROVIDER, lambda: LOADER_DEFAULTS, supports_secrets=True, locations=())
    )
    # dlt has read its runtime settings, telemetry among them, before it could know this provider.
    run_context.context.initialize_runtime()
    if not run_context.context.runtime_config.dlthub_telemetry:
        stop_telemetry()
