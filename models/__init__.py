"""Policies: what one is, where they are kept, how they run, how they are trained."""
