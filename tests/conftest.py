"""Shared by every test: assertions in the contract classes explain themselves like those in a test file."""

import pytest

pytest.register_assert_rewrite("tests.contracts")
