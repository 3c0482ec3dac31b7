"""Tests of the numerical side."""
