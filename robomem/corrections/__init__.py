"""Words to knowledge: parse, distil, store, retrieve, apply."""
