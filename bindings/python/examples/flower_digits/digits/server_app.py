"""The server: another strategy, and everything else as in any Flower app."""

import json
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp

import casemate.flower

from . import task

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    folder = Path(str(context.run_config["folder"]))
    strategy = casemate.flower.SecureFedAvg(
        context,
        key=folder / "aggregator.pem",
        roster=folder / "roster",
        policy=folder / "policy",
        signer=folder / "owner.pub",
        step_timeout=60,
    )
    result = strategy.start(
        grid,
        ArrayRecord({"weights": Array(np.zeros((65, 10), np.float32))}),
        num_rounds=int(context.run_config["rounds"]),
        evaluate_fn=lambda _round, arrays: MetricRecord({"accuracy": task.accuracy(arrays["weights"].numpy())}),
    )
    rounds = {number: dict(metrics) for number, metrics in result.train_metrics_clientapp.items()}
    accuracy = {number: metrics["accuracy"] for number, metrics in result.evaluate_metrics_serverapp.items()}
    Path(str(context.run_config["result"])).write_text(json.dumps({"rounds": rounds, "accuracy": accuracy}))
