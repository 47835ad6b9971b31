"""What is taken out of a report, and what stays."""

from pathlib import Path

import pytest

from webui.redaction import redacted

HOME = Path("/home/anna")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /sign-in?link=aB3-_x HTTP", "GET /sign-in?link=[removed] HTTP"),
        ("/watch?a=1&link=zz&b=2", "/watch?a=1&link=[removed]&b=2"),
        ("Authorization: Bearer lw.k3y", "Authorization: Bearer [removed]"),
        ("http://user:pass@host/x", "http://user:[removed]@host/x"),
        ('{"token": "abc", "speed": 1}', '{"token": "[removed]", "speed": 1}'),
        ("wifi.psk = 'geheim'  # ours", "wifi.psk = '[removed]'  # ours"),
        ('webhook = "https://hooks.example/T0/s3cret"', 'webhook = "[removed]"'),
        ("password=hunter2; x", "password=[removed]; x"),
        ("wireless-security.psk: x: y z\nmode: ap", "wireless-security.psk: [removed]\nmode: ap"),
        ("hash $argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA kept", "hash [removed] kept"),
        (f"key {'aB3_-xYz' * 5}q9Z of", "key [removed] of"),
        ("the set-up code K7QX-2M9P now", "the set-up code [removed] now"),
        ("K7QX-2M9P", "[removed]"),
        ("page " + "0a" * 16, "page [removed]"),
        ("link/ether 00:1A:2b:3c:4d:5e brd", "link/ether [address] brd"),
        ("anna.b@example.org wrote", "[e-mail] wrote"),
        ("/home/anna/cars and /home/ben/x", "~/cars and /home/[user]/x"),
        ('SSID: "Our house"', "SSID: [removed]"),
        ("-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\nafter", "[removed]\nafter"),
        ("-----BEGIN EC PRIVATE KEY-----\ncut off", "[removed]"),
    ],
)
def test_secrets_and_names_are_taken_out(text: str, expected: str) -> None:
    assert redacted(text, HOME) == expected


@pytest.mark.parametrize(
    "text",
    [
        "policy 3f9a" * 16,
        "a" * 64,
        "failsafe.frame_overdue_s = 0.075",
        "WARNING vehicle: running without locked memory ('memlock unlimited')",
        "/dev/serial/by-id/usb-1a86_USB_Serial-if00-port0",
        "2026-11-26T15:00:00+0100 and 12:30:01",
        "10.42.0.1",
    ],
)
def test_what_helps_stays(text: str) -> None:
    assert redacted(text, HOME) == text


def test_a_home_that_is_everywhere_is_not_replaced() -> None:
    assert redacted("/root/x and /", Path("/")) == "/root/x and /"
