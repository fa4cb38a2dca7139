"""`python -m docs.generate` writes the generated pages anew."""

from docs.generate.pages import write

write()
