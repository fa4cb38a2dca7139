"""`python -m pipelines` is `braze-elt`."""

from pipelines.cli import main

main()
