"""The safety core under guard: every branch covered, and every small change of it noticed by a test."""
