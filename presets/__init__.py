"""Presets: schema, store and shipped library."""
