"""Numbers measured on one car, and the conversions that use them. Imports nothing of ours."""
