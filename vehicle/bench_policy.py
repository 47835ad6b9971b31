"""Rows of `lapwing bench` about policies themselves: conversion, loading, inference float and int8."""

from pathlib import Path

import msgspec

from models.bundle import load_bundle
from models.standard_graph import SHALLOW, STEREO, write_frozen_graph
from vehicle.bench_car import child_answer
from vehicle.bench_plan import RATE_HZ, Plan
from vehicle.bench_rows import Row, Verdict, at_most

CONVERSION_LIMIT_S = 10.0
CONVERSION_LIMIT_MB = 150.0
SESSION_LIMIT_MB = 600.0
READY_LIMIT_S = 1.0
GRAPHS = {"SHALLOW, front": SHALLOW, "DEEP_CONVOLUTIONAL_NETWORK, stereo": STEREO}
CHILD_LIMIT_S = 300.0
PLAIN = "onnxruntime's defaults"


class ConversionAnswer(msgspec.Struct):
    """What the child says about converting one graph."""

    seconds: float
    converting_mb: float
    """Private memory, at most."""
    session_mb: float
    """The same, after a session was opened and run."""
    converted_ms: float
    simplified_ms: float


class InferenceAnswer(msgspec.Struct):
    """What the child says about one policy's inference."""

    p50_ms: dict[str, float]
    p99_ms: dict[str, float]
    cpu_ms: dict[str, float]
    """Of all threads, from one decision to the next."""
    notes: dict[str, str]


def conversion_rows(folder: Path, plan: Plan) -> list[Row]:
    """Measure converting frozen TensorFlow graphs of full size, each in a process of its own."""
    rows = []
    for label, network in GRAPHS.items():
        place = folder / network.sensor
        place.mkdir(parents=True)
        graph = place / "model.pb"
        write_frozen_graph(graph, network)
        size_mb = graph.stat().st_size / 1e6
        answer = msgspec.convert(
            child_answer(CHILD_LIMIT_S, "convert", graph, plan.inferences), ConversionAnswer
        )
        graph.unlink()
        name = f"conversion, {label}, {size_mb:.0f} MB"
        rows += [
            at_most(f"{name}: time", answer.seconds, "s", CONVERSION_LIMIT_S),
            at_most(
                f"{name}: private memory",
                answer.converting_mb,
                "MB",
                CONVERSION_LIMIT_MB,
                "at most, with the libraries'",
            ),
            at_most(
                f"{name}: private memory with a session", answer.session_mb, "MB", SESSION_LIMIT_MB, "at most"
            ),
            Row(
                f"{name}: inference, once in 33 ms",
                f"p50 {answer.converted_ms:.2f} ms as converted, {answer.simplified_ms:.2f} ms simplified",
                "-",
                Verdict.SHOWN,
                f"1 thread; {plan.inferences} of each, taking turns",
                {"converted_ms": answer.converted_ms, "simplified_ms": answer.simplified_ms},
            ),
        ]
    return rows


def ready_rows(_folder: Path, label: str, source: str, plan: Plan) -> list[Row]:
    """Measure loading a policy: found, checked, opened, tried and warm."""
    seconds = [
        msgspec.convert(child_answer(CHILD_LIMIT_S, "load", source), dict[str, float])["seconds"]
        for _ in range(plan.trials)
    ]
    note = f"worst of {plan.trials}, each in a new process, without starting Python"
    return [at_most(f"{label}: load to ready", max(seconds), "s", READY_LIMIT_S, note)]


def inference_rows(_folder: Path, label: str, source: str, plan: Plan) -> list[Row]:
    """Measure inference, taking turns in one process: as chosen here, in int8, and onnxruntime's defaults."""
    limit_s = CHILD_LIMIT_S + 4 * plan.inferences / RATE_HZ
    answer = msgspec.convert(child_answer(limit_s, "inference", source, plan.inferences), InferenceAnswer)
    plain_ms = answer.p50_ms[PLAIN]
    control_rate_hz = load_bundle(source).metadata.control_rate_hz
    rows = []
    for way, p50_ms in answer.p50_ms.items():
        against = "" if way == PLAIN else f"{p50_ms / plain_ms:.2f} of the defaults' median; "
        paced = f"{plan.inferences}, one in {1e3 / control_rate_hz:.0f} ms"
        rows.append(
            Row(
                f"{label}: inference, {way}",
                f"p50 {p50_ms:.2f}, p99 {answer.p99_ms[way]:.2f}, processor {answer.cpu_ms[way]:.2f} ms",
                "-",
                Verdict.SHOWN,
                f"{against}{answer.notes.get(way, '')}{paced}",
                {"p50": p50_ms, "p99": answer.p99_ms[way], "cpu": answer.cpu_ms[way]},
            )
        )
    return rows
