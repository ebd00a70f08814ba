"""The built-in packs: policies for one kind of action each, set beside a main policy."""
