"""Mutation tests of `protocol`: which single changes of its code the tests notice."""
