"""Migrations: they make no table; the permissions of the live page come with them."""
