"""What is run on each kind of rig: mixes, sizes, targets. The CPU's are to rehearse with, not to measure."""

import pathlib

MODELS = pathlib.Path(__file__).parent / "models"

GPU = {
    "start_s": 240,
    "splits": ("2P2D", "3P1D", "1P3D"),
    # (prompt, output) in tokens: two of the rig's own table, and the one with the widest contrast to the second.
    "mixes": ((2048, 128), (128, 512), (4096, 32)),
    # Requests a second that the rig's own client had on an H200, by split: how many requests make a cell of cell_s.
    "known": {"2P2D": (15.4, 11.7, 8.3), "3P1D": (18.0, 8.6, 12.0), "1P3D": (8.0, 13.9, 4.7)},
    "concurrency": 48,
    "cell_s": 8,
    # Long answers come in waves of 16 a decode worker. With half a wave to spare for each of two workers (2 * 16 * 7 - 16)
    # it makes no wave more when one of them gets up to 8 requests more than the other; in 96 requests one more did.
    "requests": {(128, 512): 208},
    "cell_limit_s": 30,
    # Decode's 16 slots keep the time between tokens at 4 to 7 ms, so the target is twice that; the first token in two seconds.
    "slo": {"ttft_ms": 2000, "tpot_ms": 15},
    # 0.8 of the best split's requests a second, as known before.
    "phases": ((4096, 32, 9.6), (128, 512, 11.1)),
    "phase_s": 50,
    "restart_phase_s": 100,
    "model": MODELS / "gpu-model-wide.toml",
    "fault": {"mix": (2048, 128), "rate": 6.0, "seconds": 40},
    # Streams of about four seconds; 15 at a time have a slot each, also where one decode worker is left.
    "continuation": {"tokens": 640, "copies": 3, "other_split": "3P1D"},
    "restart_s": 100,
}

CPU = {
    "start_s": 900,
    # Three workers, since each keeps a core busy.
    "splits": ("1P2D", "2P1D"),
    "mixes": ((256, 16), (32, 48), (512, 8)),
    "known": {"1P2D": (3.0, 1.5, 3.0), "2P1D": (3.0, 1.5, 3.0)},
    "concurrency": 8,
    "cell_s": 5,
    "requests": {},
    "cell_limit_s": 120,
    "slo": {"ttft_ms": 4000, "tpot_ms": 200},
    "phases": ((512, 8, 1.5), (32, 48, 1.0)),
    "phase_s": 30,
    "restart_phase_s": 40,
    "model": MODELS / "cpu-model-tiny.toml",
    "fault": {"mix": (256, 32), "rate": 1.0, "seconds": 40},
    "continuation": {"tokens": 500, "copies": 1, "other_split": "2P1D"},
    "restart_s": 90,
}
