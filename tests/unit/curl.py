#!/usr/bin/env python3
"""Stands in for curl where there is none, as far as docs/api.md uses it."""

import argparse
import sys
import urllib.error
import urllib.request
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("-s", dest="silent", action="store_true")
    parser.add_argument("-S", dest="says_errors", action="store_true")
    parser.add_argument("-f", dest="fails", action="store_true")
    parser.add_argument("-N", dest="is_unbuffered", action="store_true")
    parser.add_argument("-X", dest="method")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-d", dest="data")
    parser.add_argument("-T", dest="upload", type=Path)
    parser.add_argument("url")
    given = parser.parse_args()
    body = given.upload.read_bytes() if given.upload else given.data.encode() if given.data else None
    method = given.method or ("PUT" if given.upload else "POST" if body is not None else "GET")
    headers = dict(header.split(": ", 1) for header in given.headers)
    request = urllib.request.Request(given.url, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            while chunk := answer.read1():
                sys.stdout.buffer.write(chunk)
                if given.is_unbuffered:
                    sys.stdout.buffer.flush()
    except urllib.error.HTTPError as error:
        with error:
            sys.stdout.buffer.write(error.read())
        return 22 if given.fails else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
