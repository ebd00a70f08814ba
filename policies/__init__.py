"""The built-in policies, carried in the wheel as package data."""
