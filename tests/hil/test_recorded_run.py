"""A run that was recorded once still gives the same commands: whatever changes how the car drives is seen.

When it is meant to change, or the shipped policy is another one, record it again and look at the difference
(`lapwing replay` shows it) before it is committed:

    python -m tests.golden.make_run
"""

from pathlib import Path

import msgspec
import pytest
from mcap.reader import make_reader

from models.policy import Policy, load_policy
from tests.golden.make_run import FILE, POLICY, SIZE_LIMIT_BYTES
from vehicle.messages import DriveState, TickRecord
from vehicle.replay import replay
from vehicle.replay_parts import Recording
from vehicle.run_file import RunWriter, read, schemas_of
from vehicle.run_schemas import Topic, protobuf_class_of
from vehicle.run_seek import RunIndex
from vehicle.run_traces import traces_of


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(str(POLICY))


def test_a_run_recorded_once_still_gives_the_same_commands(policy: Policy) -> None:
    report = replay(FILE, policy, exact=False)  # it may have been recorded on another machine
    assert report.differences == ()
    assert report.moved
    assert report.moving_ticks >= 60
    assert report.decisions >= 15
    assert report.pulse_span_us > 10.0
    assert report.actions_equal_frac == 1.0


def test_a_change_of_the_recorded_commands_is_seen(policy: Policy, tmp_path: Path) -> None:
    path = tmp_path / FILE.name
    writer = RunWriter(path)
    for topic, time_ns, data in read(FILE, Topic):
        kept = data
        if topic is Topic.EXACT_TICK:
            tick = msgspec.msgpack.decode(data, type=TickRecord)
            sent = msgspec.structs.replace(tick.sent, throttle_us=tick.sent.throttle_us + 2.0)
            if tick.state is DriveState.AUTONOMOUS:
                kept = msgspec.msgpack.encode(msgspec.structs.replace(tick, sent=sent))
        writer.add(topic, time_ns, kept)
    writer.finish({})
    report = replay(path, policy, exact=False)
    assert not report.is_same
    assert {one.what for one in report.differences} == {"pulses"}


def test_the_run_is_small_and_any_mcap_reader_opens_it() -> None:
    assert FILE.stat().st_size < SIZE_LIMIT_BYTES
    decoded: set[str] = set()
    with FILE.open("rb") as file:
        for schema, channel, message in make_reader(file).iter_messages():
            decoded.add(channel.topic)
            if channel.message_encoding == "msgpack":
                assert msgspec.msgpack.decode(message.data)
                continue
            assert schema is not None
            if channel.message_encoding == "json":
                assert msgspec.json.decode(schema.data)["title" if schema.name.startswith("fox") else "$ref"]
                assert msgspec.json.decode(message.data)
            else:
                image = protobuf_class_of(schema.data, schema.name).FromString(message.data)
                stamp = image.timestamp
                assert stamp.seconds * 10**9 + stamp.nanos == message.log_time
    assert decoded == set(schemas_of(FILE)) >= {"/tick", "/camera", "/policy_input", "/truth", "/log"}


def test_its_curves_are_those_of_its_ticks() -> None:
    traces = traces_of(FILE, RunIndex(FILE))
    ticks = Recording(FILE).ticks
    assert traces.ticks["t_ns"].tolist() == [tick.now_ns for tick in ticks]
    sent = [tick.sent_frac.steering_frac for tick in ticks]
    assert traces.ticks["steering"].tolist() == pytest.approx(sent, abs=1e-6)
