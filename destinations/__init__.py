"""Everything that knows a warehouse."""
